"""Makes models in the form that transformers' own classes read, tiny and with random weights, for the CPU.

They are those of `tiny_models`, with weights, and with what transformers' classes want beside. In its real size, for
measuring on a GPU, `lighton-ocr-2` can be had.
"""

import json
from pathlib import Path
from typing import Any

import tiny_models
from tiny_models import TEXT, VISION

from ocrd.config.profile import Profile

Files = dict[str, dict[str, Any]]


def make(folder: Path, profile: Profile, *, real: bool = False) -> Path:
    """Write a model of the class that reads with this profile into the folder, and return it.

    With `real`, of the published model's sizes, in bfloat16.
    """
    import torch
    import transformers

    tiny_models.make(folder, profile.architectures[0], real=real)
    for name, content in CHANGES.get(profile.name, {}).items():
        path = folder / name
        path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | content))
    made = getattr(transformers, profile.native_class or profile.architectures[0])
    torch.manual_seed(1)
    config = (folder / "config.json").read_bytes()
    model = made(made.config_class.from_pretrained(folder))
    (model.bfloat16() if real else model).save_pretrained(folder)
    (folder / "config.json").write_bytes(config)  # as published, where transformers would write its own form
    return folder


def _deepseek(model_type: str, name: str, encoder: dict[str, Any]) -> Files:
    """DeepSeek-OCR-2, or Unlimited-OCR, which is made like it."""
    tokens = {"bos_token_id": 371, "eos_token_id": 372, "pad_token_id": 373}
    text = TEXT | tokens | {"vocab_size": 384, "moe_intermediate_size": 32, "n_routed_experts": 4}
    text |= {"num_experts_per_tok": 2, "mlp_layer_types": ["dense", "sparse"]}
    sam = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "output_channels": 32}
    sam |= {"downsample_channels": [32, 64], "global_attn_indexes": [0], "mlp_dim": 64}
    config = {"model_type": model_type, "architectures": [f"{name}ForConditionalGeneration"], "image_token_id": 374}
    config |= {"text_config": text, "vision_config": {"sam_config": sam, "encoder_config": encoder}}
    return {
        "config.json": config,
        "preprocessor_config.json": {"image_processor_type": f"{name}ImageProcessor"},
        "processor_config.json": {"processor_class": f"{name}Processor"},
    }


CHANGES: dict[str, Files] = {
    "deepseek-ocr-2": _deepseek("deepseek_ocr2", "DeepseekOcr2", VISION | {"num_key_value_heads": 2, "vocab_size": 1}),
    "unlimited-ocr": _deepseek("unlimited_ocr", "UnlimitedOcr", VISION),
    "lighton-ocr-2": {
        "preprocessor_config.json": {"processor_class": "LightOnOcrProcessor"},
        "processor_config.json": {"processor_class": "LightOnOcrProcessor"},
        "tokenizer_config.json": {
            "extra_special_tokens": {
                "image_token": "<|image_pad|>",
                "image_break_token": "<|vision_pad|>",
                "image_end_token": "<|vision_end|>",
            }
        },
    },
    "qianfan-ocr": {
        "preprocessor_config.json": {
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "size": {"height": 448, "width": 448},
            "crop_to_patches": True,
            "min_patches": 1,
            "max_patches": 12,
        },
        "processor_config.json": {"processor_class": "QianfanOCRProcessor", "image_seq_length": 256},
        "tokenizer_config.json": {
            "extra_special_tokens": {
                "start_image_token": "<img>",
                "end_image_token": "</img>",
                "context_image_token": "<IMG_CONTEXT>",
            }
        },
    },
}
"""What is otherwise than `tiny_models` has it, by profile: keys of files."""
