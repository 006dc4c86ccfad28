"""What the owner can choose about the transformers engine. Needs nothing but pydantic."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from ocrd.config.units import Duration, Section, at_least

_MOST = 64
"""Pages in a batch."""


def _batch_size(value: object) -> object:
    if value == "auto" or (type(value) is int and 1 <= value <= _MOST):
        return value
    raise ValueError(f"must be auto, or a whole number from 1 to {_MOST}")


class TransformersSettings(Section):
    """The model of engine.profile in transformers' own class, for machines that can't have vLLM."""

    model: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="Hugging Face name or a local folder; empty: the profile's."
    )
    revision: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="Commit, tag or branch of the model on Hugging Face; empty: the profile's, or its newest.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda:\d+)$",
        description="Where it runs: cpu, or a card, such as cuda:0; auto: the first card, or else the CPU.",
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        default="auto", description="What it reckons in; auto: as the model was published."
    )
    batch_size: Annotated[
        int | Literal["auto"],
        BeforeValidator(_batch_size),
        WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": _MOST}]}),
    ] = Field(
        default="auto",
        description="Most pages read at once, which are always of one size; auto: as many as the memory seems to hold, "
        "8 at most. Where it holds fewer, half as many are read from then on.",
    )
    memory: float = Field(
        default=0.8, gt=0, le=1, description="Share of the memory, the card's or the machine's, to reckon with, 0 to 1."
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Most tokens generated for a page; empty: the profile's."
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Run Python code that comes with the model, where transformers has no class of its own for it. "
        "`revision` must then be a commit of 40 hexadecimal digits, whose code you have looked at.",
    )
    hang_after: Annotated[Duration, at_least(1, "1s")] = Field(
        default=300.0, description="Time without a token, with pages in work, after which the model is started anew."
    )
