"""What the owner can choose about the vLLM engine. Needs nothing but pydantic, so reading a configuration is cheap."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

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


def leaves_ours_alone(arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuse engine arguments that are not open to change, or have a setting of their own. Raises ValueError."""
    for name in arguments.keys() & FIXED.keys():
        raise ValueError(f"must not set {name}: {FIXED[name]}")
    for name in arguments.keys() & NAMED.keys():
        raise ValueError(f"must not set {name}, which has a setting of its own, engine.vllm.{NAMED[name]}")
    return arguments


def _once_each(cards: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(cards)) < len(cards):
        raise ValueError("must name each card once; engines_per_card lets engines share one")
    return cards


Cards = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1), AfterValidator(_once_each)
]


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
    """The resident engine: a model in vLLM. What is empty here is as engine.profile has it."""

    model: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="Hugging Face name or a local folder; empty: the profile's."
    )
    revision: str | None = Field(
        default=None,
        description="Commit, tag or branch of the model on Hugging Face; empty: the profile's, or its newest.",
    )
    prompt: Annotated[str, Field(pattern="<image>")] | None = Field(
        default=None,
        description="What the model is asked; `<image>` is where the image stands. Empty: the profile's. "
        "DeepSeek-OCR's gives Markdown with tables and the places of figures, and `<image>\\nFree OCR.` plain text. A "
        "model knows its own short prompts better than instructions.",
    )
    other_prompt: Annotated[str, Field(pattern="<image>")] | None = Field(
        default=None,
        description="What it is asked in a second reading of a page that went wrong; empty: the profile's.",
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Most tokens generated for a page, which max_model_len may end earlier; empty: the profile's.",
    )
    ngram_size: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="No run of this many tokens comes twice within window_size; empty: the profile's; 1: any may.",
    )
    window_size: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many tokens back a repeated run counts; empty: the profile's."
    )
    whitelist_token_ids: Annotated[tuple[int, ...], Field(strict=False)] | None = Field(
        default=None, description="Tokens that may repeat; empty: the profile's, for DeepSeek-OCR <td> and </td>."
    )
    temperature: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="0: a page always reads the same. Empty: the profile's."
    )
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
        description="Model runner of vLLM; auto: v2 where it takes ocrd's n-gram processor (0.31 and newer) and the "
        "model runs on it, otherwise v1.",
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
    devices: Literal["auto"] | Cards = Field(
        default="auto",
        description="Cards to read on, each with engines of its own: their numbers in nvidia-smi, or among those of "
        "CUDA_VISIBLE_DEVICES where that is set. auto: all that are fit for it.",
    )
    engines_per_card: Literal["auto", 1, 2] = Field(
        default="auto",
        description="Engines that share the card under CUDA MPS, each with half of the memory: 2 read a third more "
        "than 1 on a large card. auto: 2 where that can be, otherwise 1, and the log says why.",
    )
    max_model_len: Annotated[int, Field(ge=1024)] | None = Field(
        default=None,
        description="Most tokens of a page: image (for DeepSeek-OCR 903 for A4), prompt and text together; empty: the "
        "profile's.",
    )
    tile: Literal[640, 768] | None = Field(
        default=None, description="Edge of the model's tiles, pixels; empty: the profile's."
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
        return leaves_ours_alone(extra)
