"""Words that stand on a page, put together as Markdown: paragraphs, headings, lists, tables, each with its place.

A layout model, that of pymupdf4llm, says what stands where. The words are those that were read, or that a PDF has of
its own, in their order and with all of their signs: of the model's text only tables are taken, and only if they say the
same.
"""

import contextlib
import inspect
import io
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby, pairwise
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pymupdf

_MODEL = ("pymupdf.layout", "pymupdf4llm")
"""Where they are installed `import pymupdf` imports them, and onnxruntime with them."""
A4_HEIGHT = 842
"""Points. Pages of any size are laid out as if they were as long as this: the model knows such pages best."""
_TOLERANCE = 0.02
"""Share of a table's words, none of them with digits, that may differ between what was read and what became of it."""
_LABELS = {
    "title": "title", "section-header": "sub_title", "list-item": "list", "table": "table", "picture": "image",
    "formula": "equation", "caption": "image_caption", "footnote": "footnote",
    "page-header": "header", "page-footer": "footer",
}  # fmt: skip
"""What ocrd calls the kinds of the layout model; all others are text."""
_HEADINGS = {"title", "section-header"}
_ROWS = {"table", "picture", "formula"}
"""Blocks whose lines are no paragraph."""
_BULLET = re.compile(r"\A[•·‣▪■●○◦∙*\u2013\u2014-]\s+(?=\S)")
_NUMBERED = re.compile(r"(?:\d{1,3}|[A-Za-z])[.)]\s+(?=\S)")
_HYPHENS = ("-", "\u00ad", "\u2010")
_LOWER = 0.75
"""Share of a heading's height below which a line is of its text."""
_SPACE = 0.25
"""Width of a space, as a share of the letters' height."""


class Word(NamedTuple):
    """A word, or as much of a line as its reader keeps together; lengths in any unit, from the upper left corner."""

    text: str
    left: float
    right: float
    baseline: float
    height: float
    line: int
    """Number of its line."""


class Block(NamedTuple):
    """What the layout model takes for one paragraph, heading, table, picture …; lengths in the unit of the words."""

    kind: str
    left: float
    top: float
    right: float
    bottom: float
    markdown: str = ""

    def holds(self, word: Word) -> bool:
        x, y = (word.left + word.right) / 2, word.baseline - word.height / 3
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


class _Line(NamedTuple):
    """Words of one line."""

    home: Block | None
    """The block in which most of it stands."""
    words: list[Word]
    place: int
    """Of its first word among all of the page."""

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def height(self) -> float:
        return max(word.height for word in self.words)


def put_off() -> None:
    """Let `import pymupdf` not bring the model along until `load`: most processes never need its time and memory."""
    for name in _MODEL:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type] # as the import system has it


@cache
def load() -> None:
    """Load the model, which takes a second and 100 MB. Raises ImportError."""
    import onnxruntime

    onnxruntime.SessionOptions = _single_threaded(onnxruntime.SessionOptions)
    for name in _MODEL:
        if sys.modules.get(name, sys) is None:
            del sys.modules[name]
    import pymupdf4llm

    pymupdf4llm.use_layout(True)


def _single_threaded(options: type) -> type:
    """Keep onnxruntime to the thread that calls it, which pymupdf4llm has no setting for."""

    class SingleThreaded(options):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.intra_op_num_threads = 1

    return SingleThreaded


def _forget_picture() -> None:
    """Free what the model has made of the last picture, 60 MB, which it would keep until the next one is made.

    Nothing public does that: a look at an empty page leaves as much. Where a PyMuPDF keeps it otherwise, it keeps it.
    """
    extractor = _extractor()
    for name in ("_combined", "_logits", "_raw_outputs"):
        if hasattr(extractor, name):
            with contextlib.suppress(AttributeError):  # it can be read, but not set
                setattr(extractor, name, None)


@cache
def _extractor() -> object:
    """Find the part of the layout model that looks at pictures; None where PyMuPDF has it somewhere else."""
    import pymupdf

    layout = getattr(pymupdf, "_get_layout", None)
    model = inspect.getclosurevars(layout).nonlocals.get("MODEL") if inspect.isfunction(layout) else None
    return getattr(getattr(model, "_model", None), "feature_extractor", None)


def found(document: "pymupdf.Document", index: int = 0, scale: float = 1.0) -> list[Block]:
    """Ask the model for the blocks of a page, in its reading order; `scale` is points of the page per unit."""
    load()
    import pymupdf4llm

    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        (page,) = pymupdf4llm.to_markdown(document, pages=[index], use_ocr=False, page_chunks=True)
    _forget_picture()
    blocks = []
    for box in page["page_boxes"]:
        left, top, right, bottom = (side / scale for side in box["bbox"])
        blocks.append(Block(box["class"], left, top, right, bottom, page["text"][slice(*box["pos"])]))
    return blocks


def assembled(words: Sequence[Word], blocks: Sequence[Block], size: tuple[float, float], *, in_order: bool) -> str:
    """Write the page as Markdown, in the order of the words if they are `in_order`, else in that of the blocks.

    Each part has a tag that tells its kind and its place on the page, which has this `size`.
    """
    homes = [_home(word, blocks) for word in words]
    tables = {block: _places(block, homes) for block in blocks if block.kind == "table"}
    tables = {block: places for block, places in tables.items() if _says(block.markdown, [words[at] for at in places])}
    parts: list[tuple[float, Block, str]] = []
    for block, places in tables.items():
        rank = statistics.median(places) if in_order else blocks.index(block)
        parts.append((rank, block, _upright(block.markdown.strip(), [words[at] for at in places])))
    if not in_order:  # the blocks are of the page itself, and not of its letters alone
        pictures = [block for block in blocks if block.kind == "picture" and block not in homes]
        parts += [(blocks.index(block), block, "") for block in pictures]
    lines = _lines(words, [None if home in tables else home for home in homes], tables.values())
    for run in _runs(lines) if in_order else _by_block(lines, blocks):
        home = _place_of(run)
        rank = run[0].place if in_order else _rank(run, blocks)
        parts.append((rank, home, _text(home, run)))
    ordered = sorted(parts, key=itemgetter(0))
    return "\n\n".join(f"{_tag(block, size)}\n{text}" for _, block, text in ordered)


def _home(word: Word, blocks: Sequence[Block]) -> Block | None:
    return min((block for block in blocks if block.holds(word)), key=attrgetter("area"), default=None)


def _places(block: Block, homes: Sequence[Block | None]) -> list[int]:
    return [place for place, home in enumerate(homes) if home is block]


def _says(markdown: str, words: Sequence[Word]) -> bool:
    """Whether the Markdown of a table has the words that were read in it: nearly all, and all those with digits."""
    said = Counter(re.sub(r"<br>|[|*_`~]|<[^<>]*>|:?-{3,}:?", " ", markdown).split())
    read = Counter(re.sub(r"[|*_`~]", " ", " ".join(word.text for word in words)).split())
    differ = (said - read) + (read - said)
    return differ.total() <= _TOLERANCE * read.total() and not any(map(_has_digit, differ))


def _upright(markdown: str, words: Sequence[Word]) -> str:
    """Take the marks of italics out of a table, where they may begin in one row and end in another."""
    return markdown if any("_" in word.text for word in words) else markdown.replace("_", "")


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))


def _lines(words: Sequence[Word], homes: Sequence[Block | None], taken: Iterable[Sequence[int]]) -> list[_Line]:
    """Gather into lines the words that are not taken. One that no block holds belongs to that on both sides of it."""
    gone = {place for places in taken for place in places}
    rest = [place for place in range(len(words)) if place not in gone]
    lines = []
    for _, group in groupby(rest, key=lambda place: words[place].line):
        places = list(group)
        letters: Counter[Block | None] = Counter()
        for place in places:
            letters[homes[place]] += len(words[place].text)
        ((home, _),) = letters.most_common(1)
        lines.append(_Line(home, [words[place] for place in places], places[0]))
    for number in range(1, len(lines) - 1):
        before, line, after = lines[number - 1 : number + 2]
        if line.home is None and before.home is after.home:
            lines[number] = line._replace(home=before.home)
    return lines


def _runs(lines: Sequence[_Line]) -> list[list[_Line]]:
    """Divide lines where the block changes. What is much lower than a heading in whose box it stands is none."""
    tallest: dict[int, float] = {}
    for line in lines:
        if line.home and line.home.kind in _HEADINGS:
            tallest[id(line.home)] = max(line.height, tallest.get(id(line.home), 0.0))
    own = [line._replace(home=None) if line.height < _LOWER * tallest.get(id(line.home), 0) else line for line in lines]
    return [list(run) for _, run in groupby(own, key=lambda line: id(line.home))]


def _by_block(lines: Sequence[_Line], blocks: Sequence[Block]) -> list[list[_Line]]:
    """Gather the lines of each block, and those that follow each other outside of all."""
    outside = [run for run in _runs(lines) if run[0].home is None]
    inside = [[line for line in lines if line.home is block] for block in blocks]
    return [*filter(None, inside), *outside]


def _rank(run: Sequence[_Line], blocks: Sequence[Block]) -> float:
    """Say where a run comes among the blocks: one outside of them behind the last that begins above it."""
    if run[0].home is not None:
        return blocks.index(run[0].home)
    word = run[0].words[0]
    above = [place for place, block in enumerate(blocks) if block.top < word.baseline and block.left < word.right]
    return max(above, default=-1) + 0.5


def _place_of(run: Sequence[_Line]) -> Block:
    """Say where a run stands, and what it is; lines that no block holds are text."""
    words = [word for line in run for word in line.words]
    top = min(word.baseline - word.height for word in words)
    bottom = max(word.baseline + word.height / 4 for word in words)
    kind = run[0].home.kind if run[0].home else "text"
    level = run[0].home.markdown if run[0].home else ""
    return Block(kind, min(word.left for word in words), top, max(word.right for word in words), bottom, level)


def _tag(block: Block, size: tuple[float, float]) -> str:
    """Tell what a block is and where it stands, as DeepSeek-OCR does: in thousandths of the page image."""
    edges = zip((block.left, block.top, block.right, block.bottom), size * 2, strict=True)
    box = ", ".join(str(min(max(round(999 * edge / side), 0), 999)) for edge, side in edges)
    return f"<|ref|>{_LABELS.get(block.kind, 'text')}<|/ref|><|det|>[[{box}]]<|/det|>"


# Lines to text


def _text(block: Block, run: Sequence[_Line]) -> str:
    if block.kind in _HEADINGS:
        sign = re.match(r"#+ ", block.markdown)
        return (sign[0] if sign else "") + " ".join(line.text for line in run)
    if block.kind == "list-item":
        return "\n".join(_items(run))
    return "".join(_flow(run, rows=block.kind in _ROWS))


def _flow(run: Sequence[_Line], *, rows: bool = False) -> Iterator[str]:
    """Join lines into a paragraph if most of them are full; a divided word is left to whoever wants it joined."""
    right = max(line.words[-1].right for line in run)
    full = [_is_full(line, following, right) for line, following in pairwise(run)]
    rows = rows or sum(full) < len(full) / 2
    for (line, following), filled in zip(pairwise(run), full, strict=True):
        joined = filled and not rows and not line.text.endswith(_HYPHENS)
        yield line.text + (" " if joined or _beside(line.words[-1], following.words[0]) else "\n")
    yield run[-1].text


def _is_full(line: _Line, following: _Line, right: float) -> bool:
    """Whether the first word of the following line would not have fitted behind a line."""
    first = following.words[0]
    return right - line.words[-1].right < first.right - first.left + _SPACE * first.height


def _beside(word: Word, other: Word) -> bool:
    return other.left > word.right and abs(other.baseline - word.baseline) < other.height / 3


def _items(run: Sequence[_Line]) -> Iterator[str]:
    """Divide lines into the items of a list."""
    items: list[list[_Line]] = []
    for line in run:
        if not items or _BULLET.match(line.text) or _NUMBERED.match(line.text):
            items.append([])
        items[-1].append(line)
    for item in items:
        text = _BULLET.sub("", "".join(_flow(item)))
        yield text if _NUMBERED.match(text) else f"- {text}"
