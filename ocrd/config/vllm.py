"""What the owner can choose about the vLLM engine. Needs nothing but pydantic, so reading a configuration is cheap."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ocrd.config.units import Duration, Section, Size, at_least

FIXED = {
    "enable_prefix_caching": "pages never repeat, so ocrd keeps this cache off",
    "mm_processor_cache_gb": "pages never repeat, so ocrd keeps this cache off",
    "logits_processors": "ocrd sets its n-gram processor, which ngram_size and window_size tune",
    "scheduling_policy": "ocrd sends small documents ahead of a long backlog by priority",
    "worker_extension_cls": "ocrd asks the running engine for its settings through it",
    "stream_interval": "ocrd takes it as the engine's sign of life",
}
"""Engine arguments that `extra` may not hold, each with the reason."""

NAMED = {
    "model": "model",
    "revision": "revision",
    "max_num_seqs": "max_num_seqs",
    "max_num_batched_tokens": "max_num_batched_tokens",
    "renderer_num_workers": "renderer_num_workers",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "max_model_len": "max_model_len",
    "kv_cache_dtype": "kv_cache_dtype",
    "enable_sleep_mode": "idle.do",
}
"""Engine arguments that `extra` would contradict, each with the setting that stands for it."""


class Idle(Section):
    """What to do with the card while no page is there to be read."""

    after: Annotated[Duration, at_least(1, "1s")] = Field(
        default=600.0, description="Quiet time before the card is freed."
    )
    do: Literal["keep", "sleep", "unload"] = Field(
        default="keep",
        description="keep holds the card; sleep parks the weights in the host's memory (about 7 GB) and wakes in "
        "seconds; unload ends the engine and starts it again, in a minute or two, when a page arrives.",
    )


class VllmSettings(Section):
    """The resident engine: DeepSeek-OCR in vLLM."""

    model: str = Field(
        default="deepseek-ai/DeepSeek-OCR", min_length=1, description="Hugging Face name or a local folder."
    )
    revision: str | None = Field(
        default=None, description="Commit, tag or branch of the model on Hugging Face; none: its newest."
    )
    prompt: str = Field(
        default="<image>\n<|grounding|>Convert the document to markdown.",
        pattern="<image>",
        description="What the model is asked. The default gives Markdown with tables and the places of figures; "
        "`<image>\\nFree OCR.` gives plain text. The model knows its own short prompts better than instructions.",
    )
    other_prompt: str = Field(
        default="<image>\nFree OCR.",
        pattern="<image>",
        description="What it is asked in a second reading of a page that went wrong.",
    )
    max_tokens: int = Field(
        default=8192, ge=1, description="Most tokens generated for a page; max_model_len may end it earlier."
    )
    ngram_size: int = Field(default=30, ge=1, description="No run of this many tokens comes twice within window_size.")
    window_size: int = Field(default=90, ge=1, description="How many tokens back a repeated run counts.")
    whitelist_token_ids: Annotated[tuple[int, ...], Field(strict=False)] = Field(
        default=(128821, 128822), description="Tokens that may repeat; the default is DeepSeek-OCR's <td> and </td>."
    )
    temperature: float = Field(default=0.0, ge=0, description="0: a page always reads the same.")
    max_num_seqs: int = Field(default=256, ge=1, description="Most pages decoded at once.")
    max_num_batched_tokens: int = Field(
        default=16384, ge=1024, description="Most tokens in one step of the engine; tune it to the card."
    )
    kv_cache_dtype: Literal["auto", "fp8"] = Field(
        default="auto",
        description="How the keys and values of a page's tokens are kept: as the model has them, or in half the room. "
        "What fp8 does to the texts has not been measured.",
    )
    runner: Literal["auto", "v1", "v2"] = Field(
        default="auto",
        description="Model runner of vLLM: v2 where it takes ocrd's n-gram processor (0.31 and newer), otherwise v1.",
    )
    views: Literal["workers", "vllm"] = Field(
        default="workers",
        description="Who makes the model's views of a page: the render workers, or vLLM itself, which is slower.",
    )
    vision_graphs: bool = Field(
        default=True,
        description="Record the work of the model's vision towers once and replay it for each page (CUDA graphs).",
    )
    renderer_num_workers: int = Field(default=4, ge=1, description="Threads that turn page images into tensors.")
    gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="Share of the card's memory that is taken, 0 to 1, by all engines on it."
    )
    engines_per_card: Literal["auto", 1, 2] = Field(
        default="auto",
        description="Engines that share the card under CUDA MPS, each with half of the memory: 2 read a third more "
        "than 1 on a large card. auto: 2 where that can be, otherwise 1, and the log says why.",
    )
    max_model_len: int = Field(
        default=8192, ge=1024, description="Most tokens of a page: image (903 for A4), prompt and text together."
    )
    tile: Literal[640, 768] = Field(
        default=640, description="Edge of the model's tiles, pixels: 768 for DeepSeek-OCR-2."
    )
    hang_after: Annotated[Duration, at_least(1, "1s")] = Field(
        default=120.0, description="Time without a token, with pages in work, after which the engine counts as dead."
    )
    recycle_at: Size | None = Field(
        default=None,
        description="Host memory of the engine at which it is built anew, between pages; empty: half of the machine's.",
    )
    idle: Idle = Field(default=Idle(), description="What to do with the card while no page is there to be read.")
    extra: dict[str, Any] = Field(default={}, description="Any further engine argument of vLLM, by its Python name.")

    @field_validator("extra")
    @classmethod
    def _leaves_ours_alone(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for name in extra.keys() & FIXED.keys():
            raise ValueError(f"must not set {name}: {FIXED[name]}")
        for name in extra.keys() & NAMED.keys():
            raise ValueError(f"must not set {name}, which has a setting of its own, engine.vllm.{NAMED[name]}")
        return extra
