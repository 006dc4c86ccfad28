"""What is particular to one model, as data: a profile. ocrd brings one file for each model that it knows (`profiles/`).

A profile and `engine.vllm` share the names of the settings that both have; `resolving` is where they meet.
"""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from ocrd.config.units import Section
from ocrd.config.vllm import VllmSettings, leaves_ours_alone
from ocrd.markup.dialects import DIALECTS

DEFAULT = "deepseek-ocr"

FOLDER = Path(__file__).with_name("profiles")
"""The profiles that ocrd brings, one file each."""

_ENDINGS = (".yaml", ".yml")

if TYPE_CHECKING:
    DialectName = str
else:
    DialectName = Literal[tuple(DIALECTS)]

Texts = Annotated[tuple[str, ...], Field(strict=False)]


class ImageRule(Section):
    """How large a page image is made for the model, so that its own processor has nothing left to resize."""

    scheme: Literal["patches", "deepseek", "internvl", "idefics3"] = Field(
        description="How the model cuts an image up. patches: into squares of `factor` pixels, a token each; deepseek: "
        "an overview and two to six tiles; internvl and idefics3: tiles and, of more than one, a view of the whole."
    )
    dpi: float = Field(default=300, gt=0, description="Dots per inch beyond which a page is not drawn.")
    longest_edge: int | None = Field(default=None, ge=1, description="Longest edge of the image, pixels.")
    shortest_edge: int | None = Field(
        default=None, ge=1, description="A page whose shorter edge would be less is drawn larger, pixels."
    )
    factor: int = Field(default=1, ge=1, description="patches: each edge is a multiple of this, pixels.")
    min_pixels: int = Field(default=1, ge=1, description="patches: fewest pixels of an image.")
    max_pixels: int | None = Field(default=None, ge=1, description="patches: most pixels of an image.")
    tile: int = Field(default=0, ge=0, description="Edge of a tile, pixels.")
    most_tiles: int = Field(default=1, ge=1, description="internvl: most tiles of an image.")
    tile_tokens: int = Field(default=0, ge=0, description="internvl, idefics3: tokens of a tile.")
    overview_tokens: int = Field(default=0, ge=0, description="internvl, idefics3: tokens of the view of the whole.")


class Profile(Section):
    """One model: where its facts come from, what it is asked, how it samples, what it sees and how it answers."""

    name: str = Field(default="", description="What messages call it; empty: the file's name.")
    source: str = Field(description="Where these facts come from.")
    model: str = Field(default="", description="Hugging Face name or a local folder; empty: engine.vllm.model says it.")
    revision: str | None = Field(default=None, description="Commit, tag or branch; none: its newest.")
    native_model: str = Field(
        default="",
        description="With kind: transformers, what is read instead of the model, in a form that transformers knows; "
        "empty: the model itself.",
    )
    native_class: str = Field(
        default="", description="The class of transformers that reads it, where its config.json names another."
    )
    licence: str = Field(description="Licence of the weights.")
    restriction: str = Field(default="", description="What the licence forbids, in words; empty: nothing that matters.")
    architectures: Texts = Field(default=(), description="The model's classes, as in its config.json; empty: any.")
    least_vllm: str = Field(
        default="0.24", pattern=r"^\d+\.\d+$", description="The oldest vLLM that is known to have the model."
    )
    prompt: str = Field(pattern="<image>", description="What it is asked; `<image>` is where the image stands.")
    other_prompt: str = Field(
        default="", pattern="^$|<image>", description="What a second reading asks; empty: there is no other prompt."
    )
    chat: bool = Field(description="Whether the prompt goes through the model's chat template; otherwise as it stands.")
    chat_options: dict[str, Any] = Field(default={}, description="What the chat template is given beside the message.")
    image_token: str = Field(
        default="", description="Text that stands for the image; empty: the chat template writes it."
    )
    dialect: DialectName = Field(description=f"The markup of its answers: {', '.join(DIALECTS)}.")
    other_dialect: DialectName | None = Field(
        default=None, description="That of its answers to the other prompt; empty: the same."
    )
    temperature: float = Field(default=0.0, ge=0, description="0: a page always reads the same.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Share of the likeliest tokens that are drawn from.")
    stop: Texts = Field(default=(), description="Texts that end an answer.")
    ngram_size: int | None = Field(default=None, ge=1, description="No run of so many tokens comes twice; empty: any.")
    window_size: int | None = Field(default=None, ge=1, description="How many tokens back a repeated run counts.")
    whitelist_token_ids: Annotated[tuple[int, ...], Field(strict=False)] = Field(
        default=(), description="Tokens that may repeat."
    )
    max_tokens: int = Field(ge=1, description="Most tokens generated for a page.")
    max_model_len: int = Field(ge=1024, description="Most tokens of a page: image, prompt and text together.")
    image: ImageRule = Field(description=ImageRule.__doc__)
    runner: Literal["auto", "v1", "v2"] = Field(
        default="auto", description="The model runner of vLLM that it runs on, where not on every one."
    )
    worker_views: bool = Field(
        default=False,
        description="Whether the render workers can make its views of a page, DeepSeek's tiles or Qwen's patches.",
    )
    tower_graphs: bool = Field(default=False, description="Whether its vision towers can be recorded as CUDA graphs.")
    environment: dict[str, str] = Field(default={}, description="Variables that vLLM needs for it.")
    arguments: dict[str, Any] = Field(default={}, description="Engine arguments of vLLM that it needs.")

    @field_validator("arguments")
    @classmethod
    def _leaves_ours_alone(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        return leaves_ours_alone(arguments)


SHARED = tuple(name for name in VllmSettings.model_fields if name in Profile.model_fields or name == "tile")
"""The settings of `engine.vllm` that a profile sets where they are left empty."""


def names() -> tuple[str, ...]:
    """Return the names of the profiles that ocrd brings, the default first."""
    known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return (DEFAULT, *(name for name in known if name != DEFAULT))


def is_path(profile: str) -> bool:
    """Whether this is the path of an owner's own file, and no name."""
    return "/" in profile or profile.endswith(_ENDINGS)


def unknown(name: str) -> str:
    """Say what a name that no profile has must be, as the end of a sentence that begins with the setting."""
    near = difflib.get_close_matches(name, names(), 1, 0.4)
    hint = f"did you mean {near[0]}?" if near else ", ".join(names())
    return f"must be a profile ({hint}) or the path of a file that ends in .yaml"
