"""What the owner can choose about the vLLM engine. Needs nothing but pydantic, so reading a configuration is cheap."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ocrd.errors import ConfigError

FIXED = {
    "enable_prefix_caching": "pages never repeat, so ocrd keeps this cache off",
    "mm_processor_cache_gb": "pages never repeat, so ocrd keeps this cache off",
    "logits_processors": "ocrd sets its n-gram processor; ngram_size and window_size tune it",
    "scheduling_policy": "ocrd sends small documents ahead of a long backlog by priority",
    "worker_extension_cls": "ocrd asks the running engine for its settings through it",
    "stream_interval": "ocrd takes it as the engine's sign of life",
}
"""Engine arguments that `extra` may not hold, each with the reason."""

NAMED = frozenset(
    {
        "model",
        "revision",
        "max_num_seqs",
        "max_num_batched_tokens",
        "renderer_num_workers",
        "gpu_memory_utilization",
        "max_model_len",
        "enable_sleep_mode",
    }
)
"""Engine arguments that have a field of their own, where `extra` would contradict it."""


class Idle(BaseModel):
    """What to do with the card while no page is there to be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: Annotated[float, Field(gt=0, description="Quiet time before the card is freed, seconds.")] = 600.0
    do: Annotated[
        Literal["keep", "sleep", "unload"],
        Field(
            description="`keep` holds the card always. `sleep` parks the weights in the host's memory (about 7 GB) and "
            "wakes in seconds. `unload` ends the engine and starts it again, in a minute or two, when a page arrives.",
        ),
    ] = "keep"


class VllmSettings(BaseModel):
    """The resident engine: DeepSeek-OCR in vLLM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(min_length=1, description="Hugging Face name or a local folder.")] = (
        "deepseek-ai/DeepSeek-OCR"
    )
    revision: Annotated[
        str | None, Field(description="Commit, tag or branch of the model on Hugging Face; none for its newest.")
    ] = None
    prompt: Annotated[
        str,
        Field(
            description="What the model is asked. The default gives Markdown with tables and the places of figures. "
            "DeepSeek-OCR prefers its own short prompts (`<image>\\nFree OCR.` gives plain text) to instructions.",
        ),
    ] = "<image>\n<|grounding|>Convert the document to markdown."
    max_tokens: Annotated[
        int,
        Field(ge=1, description="Most tokens generated for a page. max_model_len ends a page's text earlier."),
    ] = 8192
    ngram_size: Annotated[
        int, Field(ge=1, description="No run of this many tokens is generated twice within window_size.")
    ] = 30
    window_size: Annotated[int, Field(ge=1, description="How many tokens back a repeated run counts.")] = 90
    whitelist_token_ids: Annotated[
        tuple[int, ...],
        Field(description="Tokens that may repeat all the same; the default is `<td>` and `</td>` of DeepSeek-OCR."),
    ] = (128821, 128822)
    temperature: Annotated[
        float, Field(ge=0, description="0 takes the likeliest token always, so a page reads the same twice.")
    ] = 0.0
    max_num_seqs: Annotated[int, Field(ge=1, description="Most pages decoded at once.")] = 256
    max_num_batched_tokens: Annotated[
        int, Field(ge=1024, description="Most tokens in one step of the engine; tune it to the card.")
    ] = 16384
    renderer_num_workers: Annotated[int, Field(ge=1, description="Threads that turn page images into tensors.")] = 4
    gpu_memory_utilization: Annotated[
        float, Field(gt=0, le=1, description="Share of the card's memory that the engine may take, 0 to 1.")
    ] = 0.9
    max_model_len: Annotated[
        int, Field(ge=1024, description="Tokens of a page's image (903 for A4), prompt and text together.")
    ] = 8192
    tile: Annotated[
        Literal[640, 768], Field(description="Edge of the model's tiles, pixels: 768 for DeepSeek-OCR-2, else 640.")
    ] = 640
    hang_after: Annotated[
        float, Field(gt=0, description="Seconds without a token, with pages in work, that count as a dead engine.")
    ] = 120.0
    idle: Idle = Field(default=Idle(), description="What to do with the card while no page is there to be read.")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Any further engine argument of vLLM, by its name in Python."
    )

    @field_validator("extra")
    @classmethod
    def _leaves_ours_alone(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for name in extra:
            if name in FIXED:
                raise ConfigError(
                    f"engine.vllm.extra sets {name}, which is not open to change: {FIXED[name]}.",
                    f"Take {name} out of engine.vllm.extra.",
                )
            if name in NAMED:
                remedy = "idle.do: sleep" if name == "enable_sleep_mode" else name
                raise ConfigError(
                    f"engine.vllm.extra sets {name}, which has a setting of its own.",
                    f"Set engine.vllm.{remedy} instead.",
                )
        return extra
