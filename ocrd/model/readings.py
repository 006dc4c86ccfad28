"""What an engine is asked of a page and answers, and what we hold of that."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self

from ocrd.model.pages import PageFacts


@dataclass(frozen=True, slots=True)
class Approach:
    """How an engine is to read a page, where that differs from its settings. An engine does what it can of it."""

    prompt: str | None = None
    """What the model is asked."""
    temperature: float | None = None
    """How freely it chooses among its next tokens; 0 always takes the likeliest."""
    ngram_size: int | None = None
    """Tokens in a run that may not come twice."""
    window_size: int | None = None
    """How many tokens back a repeated run counts."""
    languages: tuple[str, ...] | None = None
    """What languages to expect, as the engine calls them."""

    def or_else(self, other: "Approach") -> "Approach":
        """Fill up with another what this one leaves to the settings."""
        return Approach(**{**asdict(other), **{name: one for name, one in asdict(self).items() if one is not None}})


DEFAULT_APPROACH = Approach()
"""As the engine's settings say."""


class Rung(StrEnum):
    """A way to read a page: the first one, and those to try when it went wrong."""

    FIRST = "first"
    """As the settings say."""
    TURN = "turn"
    """The page turned the other way that it may stand."""
    PROMPT = "prompt"
    """The model is asked in other words."""
    WARM = "warm"
    """The model chooses more freely, and may repeat less."""
    HALVES = "halves"
    """The upper and the lower half by themselves, joined."""
    TEXT_LAYER = "text_layer"
    """The PDF's own text, without the engine."""


class ReadWord(NamedTuple):
    """A word, and where it stands on the page image: shares of its width and height, from the upper left corner."""

    text: str
    left: float
    right: float
    baseline: float
    """Where its letters rest, share of the height."""
    height: float
    """Of its line's letters, share of the height."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the engine returned for one page image."""

    index: int
    """Position of the page in the source, from 0."""
    text: str
    """What the engine read: Markdown, or the form of `layout_blocks`, into which the dialects of models are brought."""
    finish_reason: str
    """Why the engine stopped: `stop` (done), `length` (cut off), `repetition` (looped)."""
    tokens: int
    """Tokens generated; for engines without tokens, characters."""
    seconds: float
    """From the engine's taking the page to its answer."""
    words: tuple[ReadWord, ...] = ()
    """Every word with its place, in reading order; none from an engine that does not say."""
    bans: int = 0
    """How often the engine was kept from saying a run of tokens again; 0 where it can't tell."""
    missed_dialect: str = ""
    """The dialect that was expected of the engine, where its answer is in another and was read as Markdown."""

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read it back. Raises KeyError, TypeError or ValueError if it is damaged."""
        return cls(**{**raw, "words": tuple(ReadWord(*word) for word in raw.get("words", ()))})


class Verdict(StrEnum):
    """What we hold of a reading."""

    OK = "ok"
    BLANK = "blank"
    REPEATED = "repeated"
    TRUNCATED = "truncated"
    SUSPECT = "suspect"
    FAILED = "failed"

    @property
    def sound(self) -> bool:
        """Whether a page with this verdict needs no attention from a person."""
        return self in (Verdict.OK, Verdict.BLANK)


class Box(NamedTuple):
    """Where something stands on a page image: shares of its width and height, from the upper left corner, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way in which a page was read, and how that went."""

    rung: Rung
    """The way."""
    verdict: Verdict
    """What we hold of it."""
    reason: str
    """Why, in words for a person."""
    finish_reason: str
    """Why the engine stopped; empty where it gave no reading."""
    tokens: int
    """Tokens generated."""
    seconds: float
    """From the engine's taking the page to its answer."""


@dataclass(frozen=True, slots=True)
class PageResult:
    """What became of one page: the best of its readings."""

    index: int
    """Position in the source, from 0."""
    verdict: Verdict
    """What we hold of the reading."""
    reason: str
    """Why, in words for a person; empty for a page that is ok."""
    reading: Reading | None
    """What the engine returned; None where it was not asked or had no answer."""
    rung: Rung = Rung.FIRST
    """The way by which this reading was got; `text_layer` where it is the PDF's own text and not the engine's."""
    facts: PageFacts | None = None
    """What the page image shows that was read, and how it lies on the page; None if it could not be rendered."""
    attempts: tuple[Attempt, ...] = ()
    """Every way that was tried, in order; none for a page that is blank, which no engine was asked about."""
    figures: tuple[str, ...] = ()
    """Names of the pictures cropped from the page, in reading order; empty for one that could not be cropped."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read it back. Raises KeyError, TypeError or ValueError if it is damaged, or of an older form."""
        return cls(
            raw["index"],
            Verdict(raw["verdict"]),
            raw["reason"],
            Reading.from_json(raw["reading"]) if raw["reading"] else None,
            Rung(raw["rung"]),
            PageFacts.from_json(raw["facts"]) if raw["facts"] else None,
            tuple(_attempt(one) for one in raw["attempts"]),
            tuple(raw["figures"]),
        )


def _attempt(raw: dict[str, Any]) -> Attempt:
    return Attempt(**{**raw, "rung": Rung(raw["rung"]), "verdict": Verdict(raw["verdict"])})
