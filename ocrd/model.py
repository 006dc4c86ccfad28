"""The records that pass between the rooms of ocrd. Frozen, and every field tells its unit."""

import math
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file is known by from outside: as long as its stamp stays the same, we take it as unchanged."""

    dev: int
    """Number of the device that holds the file."""
    ino: int
    """Inode number on that device."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Last modification, nanoseconds since the epoch. Only compared, never trusted as a time."""

    @classmethod
    def of(cls, stat: os.stat_result) -> Self:
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


Join = Literal["none", "subfolder", "sequence"]
"""Which images of an inbox become one document, as `watches.join` has it."""


COMPANION = ".ocrd.yaml"
"""What a companion is called: the path of its scan, and this. In a folder it is the whole name, for all scans there."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files that go together. What they have in common is their path up to their endings."""

    members: dict[str, FileStamp]
    """By ending, in the order of their pages: `-001.jpg` of a sequence, `/001.jpg` of a folder. The ending is empty for
    a single file, which is a group if it has a companion."""
    coming: dict[str, FileStamp] = field(default_factory=dict)
    """By name: temporary files that will be members when they are whole."""
    companion: FileStamp | None = None
    """Of the file with the settings for these alone."""
    duplex: bool = False
    """Whether it is of two files: the first has the fronts of the sheets, the second their backs, last first."""
    names: dict[str, str] = field(default_factory=dict)
    """The names of members, by ending, that are not what they have in common and their ending."""
    lacks: str = ""
    """Of one side of a duplex scan alone: what it waits for, in words."""

    def path_of(self, path: Path, ending: str) -> Path:
        """Return where a member lies, of a group of this path."""
        return path.with_name(self.names[ending]) if ending in self.names else Path(f"{path}{ending}")


@dataclass(frozen=True, slots=True)
class Settled:
    """A file, or a group of files, in an inbox that has stopped changing."""

    path: Path
    """Where it lies, absolute; of a group, what its members' paths have in common."""
    stamp: FileStamp | Group
    """Its stamp, or all stamps of a group, the same for the whole quiet time."""

    @property
    def group(self) -> Group:
        """It as a group, which may be of one."""
        return Group({"": self.stamp}) if isinstance(self.stamp, FileStamp) else self.stamp

    @property
    def single(self) -> bool:
        """Whether it is one file, with or without a companion."""
        return "" in self.group.members

    @property
    def sources(self) -> dict[Path, FileStamp]:
        """Every file that has pages, with its stamp."""
        group = self.group
        return {group.path_of(self.path, ending): stamp for ending, stamp in group.members.items()}

    @property
    def files(self) -> dict[Path, FileStamp]:
        """Every file of it, with its stamp; the companion comes last."""
        companion = self.group.companion
        return self.sources | ({Path(f"{self.path}{COMPANION}"): companion} if companion else {})


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use what we make in a folder that others use."""

    mode: int | None = None
    """Permission bits of a file; a folder gets the right to enter wherever it can be read. None: as the umask says."""
    group: int | None = None
    """Id of the group. None: as the system gives it."""


DEFAULT_ACCESS = Access()


@dataclass(frozen=True, slots=True)
class PixelSize:
    """The size of a page image."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""


PageSizer = Callable[[float, float], PixelSize]
"""From a page's width and height in points (1/72 inch, as displayed) to the image size that the engine wants.

Called in the render workers, so it must be picklable: a function of a module, or a `functools.partial` of one.
"""


@runtime_checkable
class PlainPageSizer(Protocol):
    """A `PageSizer` of an engine for which scans of plain text (`PageFacts.plain`) may be smaller than other pages."""

    def __call__(self, width: float, height: float, /) -> PixelSize:
        """Give the size of other pages."""
        ...

    def plain(self, width: float, height: float) -> PixelSize:
        """Give the size of a scan of plain text."""
        ...


class PagePreparer(Protocol):
    """Makes of a page's RGB image what an engine takes instead of it.

    Called in the render workers, so it must be picklable, and hold no library that they don't have.
    """

    @property
    def room(self) -> int:
        """The most bytes that it makes of a page."""
        ...

    def __call__(self, image: Any, memory: memoryview) -> int:  # noqa: ANN401 - a PIL.Image.Image, whose library this module does without
        """Write into the memory, which has that room, and return the bytes written. Raises PageError."""
        ...


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class View:
    """What is wanted of a page, where that is not the whole of it as it seems to stand."""

    turn: int | None = None
    """Degrees clockwise to turn the page by, a multiple of 90; None: find out which way is up, and how askew it is."""
    skew: float = 0.0
    """Degrees clockwise to turn it by on top of a `turn` that is given."""
    top: float = 0.0
    """Where the part begins that is wanted: share of the upright page's height."""
    bottom: float = 1.0
    """Where that part ends."""
    layer: bool = False
    """Whether to look at the text layer, too."""
    separators: tuple[str, ...] = ()
    """Texts of barcodes to look for; none, and nobody looks."""
    any_barcode: bool = False
    """Whether to look for any barcode."""
    coarse: bool = False
    """Whether to draw it at half the size that is wanted, and enlarge that."""


@dataclass(frozen=True, slots=True)
class Placement:
    """How a page image lies on its page, so that a place on the one can be found on the other."""

    width: float = 0.0
    """Width of the page as the source shows it, in points (1/72 inch); 0 if nobody knows."""
    height: float = 0.0
    """Its height, points."""
    turn: int = 0
    """Degrees clockwise by which the page was turned to stand upright: 0, 90, 180 or 270."""
    skew: float = 0.0
    """Degrees clockwise by which it was turned after that, about its middle. The image holds all of the page, so it
    is of a slightly larger sheet then."""
    top: float = 0.0
    """Where the image begins: share of the height of the upright sheet. 0 unless it shows a part of the page."""
    bottom: float = 1.0
    """Where the image ends."""

    @property
    def upright(self) -> tuple[float, float]:
        """Width and height of the upright sheet in points: of the page, turned, and of what is around it if askew."""
        width, height = (self.height, self.width) if self.turn % 180 else (self.width, self.height)
        cos, sin = math.cos(math.radians(self.skew)), abs(math.sin(math.radians(self.skew)))
        return width * cos + height * sin, height * cos + width * sin

    def on_page(self, x: float, y: float) -> tuple[float, float]:
        """Find a place of the image, in shares of its width and height, on the page as the source shows it.

        Returns points from the page's upper left corner; beyond the page for what the image shows around it.
        """
        wide, high = self.upright
        y = self.top + y * (self.bottom - self.top)
        right, down = (x - 0.5) * wide, (y - 0.5) * high  # from the middle, where both turns leave things in place
        back = -math.radians(self.turn + self.skew)
        return (
            self.width / 2 + right * math.cos(back) - down * math.sin(back),
            self.height / 2 + right * math.sin(back) + down * math.cos(back),
        )


_SHEET_LETTERS = 120
"""Fewer than these seem to be on a separator sheet; the bars count as some 40."""


@dataclass(frozen=True, slots=True)
class TextLayer:
    """What a PDF page says of its own text."""

    letters: int
    """Letters and digits in it."""
    flaw: str
    """Why it can't be trusted, in words; empty if it is sound."""
    open_hyphens: tuple[str, ...] = ()
    """Words behind whose hyphen it has space, with what follows, such as `short- and`, in small letters."""

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read it back. Raises KeyError or TypeError if it is damaged."""
        return cls(**{**raw, "open_hyphens": tuple(raw.get("open_hyphens", ()))})


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What a page image shows before anybody reads it."""

    placement: Placement = Placement()
    """How the image lies on the page."""
    ink: float = 0.0
    """Share of the pixels that differ clearly from the paper around them, 0 to 1."""
    lines: int = 0
    """Lines of text that there seem to be, roughly."""
    letters: int = 0
    """Letters that there seem to be, very roughly, and rather too few."""
    blank: str = ""
    """Why there is nothing to read, in words; empty for a page that has something on it."""
    damage: str = ""
    """Why the image may lack some of the page, in words; empty for a page that was drawn whole."""
    other_turn: int | None = None
    """Degrees clockwise from the page as the source shows it: the next likely way up, where the image leaves doubt."""
    layer: TextLayer | None = None
    """The page's own text; None if it has none, or nobody asked."""
    separator: str = ""
    """The text of the barcode by which it begins a new document; empty for any other page."""
    barcode: str = ""
    """The text of the topmost barcode on it; empty where there is none, or nobody looked for any."""
    spread: tuple[int, ...] = ()
    """Of these letters, those in lines in each cell of the upright page, 8 across, 12 down; empty if nobody looked."""
    plain: bool = False
    """Whether it seems to be a scan of one column of text, in no small print, with nothing beside it."""

    @property
    def is_sheet(self) -> bool:
        """Whether it is a separator sheet, and not a page of text with a barcode on it."""
        return bool(self.separator) and self.letters < _SHEET_LETTERS

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read it back. Raises KeyError, TypeError or ValueError if it is damaged."""
        layer = TextLayer.from_json(raw["layer"]) if raw["layer"] else None
        spread = tuple(raw.get("spread", ()))
        return cls(**{**raw, "placement": Placement(**raw["placement"]), "layer": layer, "spread": spread})


@dataclass(frozen=True, slots=True)
class PageImage:
    """One rendered page, in memory only."""

    index: int
    """Position in the source, from 0."""
    size: PixelSize
    """Width and height of the image."""
    pixels: bytes
    """RGB, 8 bits a channel, rows from the top without padding: `3 * width * height` bytes. Empty where there is
    `prepared`."""
    dpi: float
    """Pixels per inch of the page as the source declares it; 0 where the source declares none."""
    facts: PageFacts = PageFacts()
    """What it shows."""
    prepared: memoryview | None = None
    """What the engine's `prepare` made of it. Valid until `free` is called."""
    free: Callable[[], None] = field(default=_nothing, compare=False)
    """Gives the memory of `prepared` back. Whoever has handed it on calls it at once; a second call does nothing."""
    again: "Callable[[], Awaitable[PageImage]] | None" = field(default=None, compare=False)
    """Renders the page once more, for an engine that lost it after `free`."""


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


@dataclass(frozen=True, slots=True)
class Opening:
    """How the sources of a watch are opened."""

    passwords: tuple[str, ...] = field(default=(), repr=False)
    """Those that are tried on a PDF that asks for one; never shown."""
    embedded: bool = False
    """Whether the PDFs in a portfolio are read as parts of it."""
    frames: bool = False
    """Whether each picture of an animation is a page, and not only the first."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a source once a worker has opened it."""

    kind: str
    """`pdf`, or the name of the image format in lower case, by content and not by name; `group` for several files,
    `duplex` for one of fronts and one of backs."""
    pages: int
    """Number of pages, at least 1."""
    sha256: str
    """Of the whole file, in hexadecimal; of a group, over the digests of its files in their order."""
    files: tuple[str, ...] = ()
    """Of a group, its files' paths relative to the inbox, as they were dropped."""
    dropped_as: tuple[str, ...] = ()
    """The same where they were given names that show that they belong together, which `files` has then."""
    attachments: tuple[str, ...] = ()
    """Names of files that are attached to a PDF, which are not read."""
    problems: tuple[str, ...] = ()
    """Why its pages may not be all that it holds, each a sentence."""
    parts: tuple[int, ...] = ()
    """Indices of the pages with which another document in it begins."""


def duplex_place(index: int, pages: int) -> tuple[int, int]:
    """Say of a page of a duplex scan of so many pages in which of its files it is, and which page of that; from 0.

    The first file has the fronts, the second the backs, of which the last comes first.
    """
    sheet, side = divmod(index, 2)
    return side, pages // 2 - 1 - sheet if side else sheet


@dataclass(frozen=True, slots=True)
class Document:
    """A source that was read, page by page: all that its sidecar tells."""

    source: str
    """Path of the source relative to its inbox, as it was dropped."""
    facts: SourceFacts
    """What the file is."""
    pages: tuple[PageResult, ...]
    """One result for every page, in order; each knows its position in the source."""
    engine: str
    """Kind of the engine that read it."""
    model: str
    """What read it, with version."""
    date: datetime
    """When it was finished, with time zone."""
    seconds: float
    """From the claim's start of work to the last page."""
    part: tuple[int, int] | None = None
    """Which of how many, from 1, where a scan was taken apart; `pages` are this part's alone then."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What a companion set, as it was written."""
    failures: tuple[str, ...] = ()
    """Why a file that was wanted of it could not be made, each a sentence."""
    not_in_pdf: tuple[int, ...] = ()
    """Numbers of the separator pages, from 1 in the source, that its PDF is to lack."""
    blank_backs: tuple[int, ...] = ()
    """Numbers of the pages, from 1 in the source, that are left out of all files, as blank backs of a duplex scan."""

    @property
    def problems(self) -> tuple[PageResult, ...]:
        """The pages that a person should look at."""
        return tuple(page for page in self.pages if not page.verdict.sound)

    @property
    def status(self) -> str:
        """`complete`, or `partial` where pages have problems, or the file itself."""
        return "partial" if self.problems or self.facts.problems or self.failures else "complete"


@dataclass(frozen=True, slots=True)
class ServerState:
    """How one of the servers is that an engine reads with."""

    name: str
    """Its address."""
    up: bool
    """Whether it gets pages."""
    pages: int = 0
    """That are with it."""
    why: str = ""
    """Why it gets none, in words."""


@dataclass(frozen=True, slots=True)
class CardState:
    """How one of the cards is that an engine reads on."""

    name: str
    """As the driver numbers it."""
    doing: str
    """As of `EngineState`."""
    engines: int
    """That read on it."""
    pages: int
    """That are with them."""
    memory_used: int | None = None
    """Bytes of its memory that anyone holds; None where nobody knows."""
    memory_total: int | None = None
    """Bytes of memory that it has."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """How a running engine is. An engine may have a property `state` that tells it; it is asked every second."""

    doing: str = "ready"
    """`ready`, `loading` (being built anew), `resting` (the device is free until the next page), or `away` (none of its
    servers answers; pages wait)."""
    restarts: int = 0
    """How often it was built anew because it had died."""
    memory: int | None = None
    """Bytes of the card's memory that the engine holds; None where there is no card, or nobody knows."""
    memory_used: int | None = None
    """Bytes of the card's memory that anyone holds."""
    memory_total: int | None = None
    """Bytes of memory that the card has."""
    progress: str = ""
    """While it loads: what it does and how long that takes, in words."""
    engines: int = 1
    """How many engines read side by side."""
    generated: int = 0
    """Tokens so far, those of pages that are still being read, too. Where that grows, a long page is no hang."""
    servers: tuple[ServerState, ...] = ()
    """Those that it reads with, if it does not read itself."""
    cards: tuple[CardState, ...] = ()
    """Those that it reads on, where there are several."""
