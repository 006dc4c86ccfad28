"""Makes a DeepSeek-OCR that fits a CPU: the true architecture and processor, a tiny language model, no weights.

vLLM fills the weights with random numbers (`load_format="dummy"`); the text that comes back is noise, but everything
around it is real. The vision towers have their full size, since vLLM hard-codes them.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

# With the fullwidth bar and the block of the published tokenizer.
BOS = "<\uff5cbegin\u2581of\u2581sentence\uff5c>"
EOS = "<\uff5cend\u2581of\u2581sentence\uff5c>"
PAD = "<\uff5c\u2581pad\u2581\uff5c>"
TAGS = ["<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<td>", "</td>", "<tr>", "</tr>"]

TINY: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
}
"""Sizes of the language model for a CPU."""

REAL: dict[str, Any] = {
    "vocab_size": 129280,
    "hidden_size": 1280,
    "num_hidden_layers": 12,
    "num_attention_heads": 10,
    "num_key_value_heads": 10,
    "intermediate_size": 6848,
    "moe_intermediate_size": 896,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
}
"""Sizes of the published DeepSeek-OCR, for measuring on a GPU."""


def make(folder: Path, sizes: dict[str, Any] = TINY, *, second: bool = False) -> Path:
    """Write config, tokenizer and processor settings of a model with these sizes into the folder, and return it.

    With `second`, of a DeepSeek-OCR-2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer(sizes["vocab_size"], [BOS, EOS, PAD, *TAGS])
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {name: tokenizer.token_to_id(name) for name in (BOS, EOS, PAD)}
    _write(folder / "tokenizer_config.json", _tokenizer_config())
    config = _config(sizes, ids[BOS], ids[EOS])
    if second:
        config["architectures"] = ["DeepseekOCR2ForCausalLM"]
        config["projector_config"]["input_dim"] = 896
    _write(folder / "config.json", config)
    return folder


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1))


def byte_tokenizer(size: int, special: list[str]) -> Tokenizer:
    """A byte-level BPE without merges: each byte is a token, and fillers that no text gives make up the size."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(f"~{number:06}" for number in range(size - len(alphabet) - len(special)))]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "add_bos_token": True,
        "model_max_length": 8192,
    }


def _config(sizes: dict[str, Any], bos: int, eos: int) -> dict[str, Any]:
    """As in the published model's config.json, with these sizes."""
    language = {
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        "bos_token_id": bos,
        "eos_token_id": eos,
        "kv_lora_rank": None,
        "q_lora_rank": None,
        "qk_nope_head_dim": 0,
        "qk_rope_head_dim": 0,
        "v_head_dim": 0,
        "use_mla": False,
        "topk_method": "greedy",
        "topk_group": 1,
        "n_group": 1,
        "max_position_embeddings": 8192,
        "torch_dtype": "bfloat16",
        "rm_head": False,
        "lm_head": True,
        **sizes,
    }
    return {
        "architectures": ["DeepseekOCRForCausalLM"],
        "model_type": "deepseek_vl_v2",
        "tile_tag": "2D",
        "global_view_pos": "head",
        "candidate_resolutions": [[1024, 1024]],
        "bos_token_id": bos,
        "eos_token_id": eos,
        "torch_dtype": "bfloat16",
        "projector_config": {
            "model_type": "mlp_projector",
            "projector_type": "linear",
            "input_dim": 2048,
            "n_embed": sizes["hidden_size"],
        },
        "vision_config": {"model_type": "vision", "model_name": "deeplip_b_l", "image_size": 1024, "mlp_ratio": 3.7362},
        "language_config": language,
    }


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), REAL if "--real" in sys.argv else TINY))
