"""Makes models of the profiles' classes that fit a CPU: the true architecture and processor, tiny sizes, no weights.

Like `tiny_model`, which makes DeepSeek-OCR and those that share its form. What decides how many tokens an image takes
(patches, tiles, longest edges) is as published. Three of them can be had in their real sizes, for measuring on a GPU.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_model

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The chat template of all of them; IMAGE is what a model has for an image."""

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

TEXT: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
"""Sizes of a language model for a CPU."""

VISION: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2}
"""Sizes of a vision tower for a CPU."""


def make(folder: Path, architecture: str, *, real: bool = False) -> Path:
    """Write a model of this class into the folder, and return it; with `real`, of the published model's sizes."""
    if architecture in DEEPSEEKS:
        return _deepseek(folder, architecture, real=real)
    config, image, special, processors = MODELS[architecture]
    sizes = REAL[architecture] if real else {}
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [*SPECIAL, *special]
    words = TEXT | sizes.get("text_config", {})
    tokenizer = tiny_model.byte_tokenizer(words["vocab_size"], tokens)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {token: tokenizer.token_to_id(token) for token in tokens}
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": CHAT.replace("IMAGE", image),
    }
    common = {"architectures": [architecture], "torch_dtype": "float32"}
    common |= {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    made = common | config(ids)
    for part, published in sizes.items():
        made[part] |= published
    files = {"tokenizer_config.json": about, "config.json": made, **processors}
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return folder


def front_end(model: Path, **options: Any) -> Any:
    """vLLM's front end for a model, without an engine behind it; to be shut down."""
    from vllm import AsyncEngineArgs
    from vllm.renderers import renderer_from_config

    arguments = {"load_format": "dummy", "max_model_len": 8192, "mm_processor_cache_gb": 0} | options
    return renderer_from_config(AsyncEngineArgs(model=str(model), **arguments).create_engine_config())


DEEPSEEKS = {"DeepseekOCRForCausalLM": "deepseek_vl_v2", "DeepseekOCR2ForCausalLM": "deepseek_vl_v2"} | {
    "UnlimitedOCRForCausalLM": "unlimited-ocr"
}
"""The classes that `tiny_model` makes, with their model_type."""


def _deepseek(folder: Path, architecture: str, *, real: bool) -> Path:
    sizes = tiny_model.REAL if real else tiny_model.TINY
    tiny_model.make(folder, sizes, second=architecture == "DeepseekOCR2ForCausalLM")
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": [architecture], "model_type": DEEPSEEKS[architecture]}
    config["language_config"]["max_position_embeddings"] = 32768
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _qwen3_5(ids: dict[str, int]) -> dict[str, Any]:
    text = TEXT | {
        "model_type": "qwen3_5_text",
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 1,
        "linear_num_value_heads": 1,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000000,
            "mrope_section": [2, 1, 1],
            "mrope_interleaved": True,
            "partial_rotary_factor": 0.25,
        },
    }
    vision = {
        "model_type": "qwen3_5",
        "depth": 1,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
    }
    return {"model_type": "qwen3_5", "text_config": text, "vision_config": vision, **_qwen_ids(ids)}


def _qwen2_5(ids: dict[str, int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [4, 6, 6]}
    vision = {
        "depth": 1,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "out_hidden_size": 64,
        "fullatt_block_indexes": [0],
    }
    text = TEXT | {"model_type": "qwen2_5_vl_text", "rope_parameters": rope, "rope_scaling": rope}
    return {"model_type": "qwen2_5_vl", "text_config": text, "vision_config": vision, **_qwen_ids(ids)}


def _qwen_ids(ids: dict[str, int]) -> dict[str, int]:
    tokens = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    tokens |= {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}
    return {f"{name}_token_id": ids[token] for name, token in tokens.items()}


QWEN = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def _qwen_processor(name: str, patch: int, fewest: int, most: int, frames: int = 2) -> dict[str, Any]:
    image = {
        "processor_class": name,
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "patch_size": patch,
        "temporal_patch_size": frames,
        "merge_size": 2,
        "size": {"shortest_edge": fewest, "longest_edge": most},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    video = image | {"video_processor_type": "Qwen3VLVideoProcessor" if patch == 16 else "Qwen2VLVideoProcessor"}
    del video["image_processor_type"]
    return {"preprocessor_config.json": image, "video_preprocessor_config.json": video}


DOTS_CODE = """\
from vllm.transformers_utils.configs import dotsocr


class DotsOCRConfig(dotsocr.DotsOCRConfig):
    pass
"""
"""The published model brings its own class, too, without which transformers doesn't know it."""


def _dots(ids: dict[str, int]) -> dict[str, Any]:
    vision = {
        "embed_dim": 64,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    tokens = {"image_token_id": ids["<|imgpad|>"], "video_token_id": ids["<|video_pad|>"]}
    code = {"AutoConfig": "configuration_dots.DotsOCRConfig"}
    return TEXT | {"model_type": "dots_ocr", "auto_map": code, "vision_config": vision, **tokens}


def _lighton(ids: dict[str, int]) -> dict[str, Any]:
    vision = VISION | {"model_type": "pixtral", "head_dim": 32, "image_size": 1540, "patch_size": 14}
    return {
        "model_type": "mistral3",
        "text_config": TEXT | {"model_type": "qwen3"},
        "vision_config": vision,
        "image_token_index": ids["<|image_pad|>"],
        "image_token_id": ids["<|image_pad|>"],
        "spatial_merge_size": 2,
        "multimodal_projector_bias": False,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
    }


def _qianfan(ids: dict[str, int]) -> dict[str, Any]:
    return {
        "model_type": "qianfan_ocr",
        "text_config": TEXT | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
        "vision_config": VISION | {"image_size": 448, "patch_size": 14},
        "image_token_id": ids["<IMG_CONTEXT>"],
        "downsample_ratio": 0.5,
        "max_dynamic_patch": 12,
        "use_thumbnail": True,
    }


def _idefics3(ids: dict[str, int]) -> dict[str, Any]:
    return {
        "model_type": "idefics3",
        "text_config": TEXT | {"model_type": "llama"},
        "vision_config": VISION | {"model_type": "idefics3_vision", "image_size": 512, "patch_size": 16},
        "image_token_id": ids["<image>"],
        "scale_factor": 4,
    }


_IDEFICS3_IMAGE = {
    "image_processor_type": "Idefics3ImageProcessorFast",
    "do_image_splitting": True,
    "size": {"longest_edge": 2048},
    "max_image_size": {"longest_edge": 512},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Idefics3Processor",
}

_IDEFICS3_TOKENS = ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", "<doctag>"] + [
    f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)
]

_PIXTRAL_IMAGE = {
    "image_processor_type": "PixtralImageProcessorFast",
    "size": {"longest_edge": 1540},
    "patch_size": {"height": 14, "width": 14},
    "processor_class": "PixtralProcessor",
}

_PIXTRAL = {
    "preprocessor_config.json": _PIXTRAL_IMAGE,
    "processor_config.json": {
        "processor_class": "PixtralProcessor",
        "patch_size": 14,
        "spatial_merge_size": 2,
        "image_token": "<|image_pad|>",
        "image_break_token": "<|vision_pad|>",
        "image_end_token": "<|vision_end|>",
    },
}

Config = Callable[[dict[str, int]], dict[str, Any]]

MODELS: dict[str, tuple[Config, str, list[str], dict[str, Any]]] = {
    "Qwen3_5ForConditionalGeneration": (
        _qwen3_5,
        "<|vision_start|><|image_pad|><|vision_end|>",
        QWEN,
        _qwen_processor("Qwen3VLProcessor", 16, 65536, 16777216),
    ),
    "Qwen2_5_VLForConditionalGeneration": (
        _qwen2_5,
        "<|vision_start|><|image_pad|><|vision_end|>",
        QWEN,
        _qwen_processor("Qwen2_5_VLProcessor", 14, 3136, 12845056),
    ),
    "DotsOCRForCausalLM": (
        _dots,
        "<|img|><|imgpad|><|endofimg|>",
        ["<|img|>", "<|imgpad|>", "<|endofimg|>", "<|video_pad|>"],
        _qwen_processor("Qwen2VLProcessor", 14, 3136, 11289600, frames=1) | {"configuration_dots.py": DOTS_CODE},
    ),
    "LightOnOCRForConditionalGeneration": (
        _lighton,
        "<|image_pad|>",
        ["<|image_pad|>", "<|vision_pad|>", "<|vision_end|>"],
        _PIXTRAL,
    ),
    "QianfanOCRForConditionalGeneration": (_qianfan, "<image>\n", ["<img>", "</img>", "<IMG_CONTEXT>"], {}),
    "Idefics3ForConditionalGeneration": (
        _idefics3,
        "<image>",
        _IDEFICS3_TOKENS,
        {
            "preprocessor_config.json": _IDEFICS3_IMAGE,
            "processor_config.json": {"processor_class": "Idefics3Processor", "image_seq_len": 64},
        },
    ),
}
"""By class: its config, what stands for an image, its special tokens, and the files of its processor."""

REAL: dict[str, dict[str, dict[str, Any]]] = {
    "Qwen3_5ForConditionalGeneration": {  # Qwen3.5-0.8B, as in OvisOCR2
        "text_config": {
            "vocab_size": 248320,
            "hidden_size": 1024,
            "intermediate_size": 3584,
            "num_hidden_layers": 24,
            "num_attention_heads": 8,
            "head_dim": 256,
            "layer_types": [*["linear_attention"] * 3, "full_attention"] * 6,
            "linear_num_key_heads": 16,
            "linear_num_value_heads": 16,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000000,
                "mrope_section": [11, 11, 10],
                "mrope_interleaved": True,
                "partial_rotary_factor": 0.25,
            },
        },
        "vision_config": {
            "depth": 12,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_heads": 12,
            "out_hidden_size": 1024,
            "num_position_embeddings": 2304,
        },
    },
    "LightOnOCRForConditionalGeneration": {  # the defaults of transformers' LightOnOcrConfig
        "text_config": {
            "vocab_size": 151936,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "tie_word_embeddings": True,
        },
        "vision_config": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "head_dim": 64,
        },
    },
}
"""By class: what the published model has where the tiny one has less. Unlimited-OCR has DeepSeek-OCR's sizes."""
