"""What becomes of readings that real models wrote for real pages: faults in the outputs, and verdicts.

`python bench/quality/readings.py FOLDER [chosen|held-out|all] [--list KIND] [--katex FOLDER]`

FOLDER holds readings as JSON lines: `name`, `text`; `facts` as `PageFacts` has them, if the page is known; and either
`judged` (`good`, or what is wrong) with `finish`, the finish reason, or `agreement`: the shares of words that this
reading has in common with another model's of the same page, both ways (0.8 and more: good; less: nobody knows).

The readings are parted by a hash of their document's name: rules are chosen by two thirds, the other third is held out.
Everything is counted by this program's own eyes: the Markdown is rendered by markdown-it with its plugin for formulas,
and with `--katex` formulas are parsed by KaTeX from that folder (`npm install katex`) under node.
`--list` prints the cases of one kind. To measure another version, put it first on PYTHONPATH.
"""

import argparse
import hashlib
import html
import json
import re
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from ocrd.model import Document, PageFacts, PageImage, PageResult, PixelSize, Placement, Reading, SourceFacts, Verdict
from ocrd.output import markdown, plain_text
from ocrd.output.markdown import Style
from ocrd.quality import verdict
from ocrd.rendering import text_placement

try:
    from ocrd.markup import layout_blocks
except ImportError:  # where it was before
    from ocrd.output import layout_blocks  # type: ignore[attr-defined,no-redef]

Row = dict[str, Any]

PARTS = 3
"""One of so many is held out."""
_PAGE = re.compile(r"(?<=\.pdf)_\d+$|(?<=[0-9a-f]{32})_\d+$")
"""The number of a document's page; behind any other name it is that of a set's single page."""

_LABEL = re.compile(
    r"<\|ref\|>(?:(?:sub_|doc_|figure_|paragraph_)?title|text|paragraph|image|table|equation|header|footer|page_number"
    r"|(?:image|table|figure|chart)_(?:caption|footnote|title))<\|/ref\|>"
)
_PICTURE = re.compile(r"!\[([^\[\]]*)\]\([^\s()]+\.(?:png|jpg)\)")
_TOKEN = re.compile(r"<[|\uff5c][^<>|\uff5c]{2,40}[|\uff5c]>|</?(?:fcel|ecel|lcel|ucel|xcel|nl)>|<\|[a-z/]*\Z")
_DET = re.compile(r"<\|det\|>[\[\]\d\s,]*(?:<\|/det\|>)?")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)
_JOINED_TAG = re.compile(r"</?(?:sub|sup|b|i|u|em|strong)>")
_COMMAND = re.compile(r"\\(?:begin|end)\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[^\W_]+")
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|nbsp|#\d+);")
_OPEN_HYPHEN = re.compile(
    r"(?<=[^\W\d_])(?<![\u3040-\u9fff])- (?!(?:and|or|nor|to|but|und|oder|bis|et|ou|y|o|e|en|of)\b)"
    r"(?=[^\W\d_])(?![\u3040-\u9fff])"
)
_BESIDE_FORMULA = re.compile(
    r"\$ (?=[,)\]，。、；：）！？”」》】]|\.(?![.\w]))|(?<=[(\[（“「《【]) \$(?!\$)"  # noqa: RUF001 - Chinese print
)
_VALUE = re.compile(r"\+?[\d., ]+\\%|\( ?\d{1,3} ?\)|[\u2460-\u2473]")
_SHARE = re.compile(r"\\\(\s*(\+?[\d., ]+\\%)\s*\\\)")
"""Some per cent as a formula, where spaces between digits are none."""
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def document_of(row: Row) -> str:
    """Name the document of which a reading is a page."""
    source = row.get("from", "")
    if source and not source.endswith(".md"):
        return source
    return _PAGE.sub("", source.rpartition("/")[2].removesuffix(".md") or row["name"])


def held_out(row: Row) -> bool:
    """Whether no rule may be chosen by this reading."""
    return int(hashlib.sha256(document_of(row).encode()).hexdigest()[:8], 16) % PARTS == 0


def rows_of(folder: Path, part: str) -> list[Row]:
    """Read the readings of a part."""
    lines = chain.from_iterable(path.read_text().splitlines() for path in sorted(folder.glob("*.jsonl")))
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if part == "all" or held_out(row) == (part == "held-out")]


# What a reader sees


def _renderer() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    return parser.use(dollarmath_plugin, double_inline=True, allow_labels=False)


def shown(tokens: list[Token]) -> Iterator[tuple[str, str]]:
    """Give the pieces of what is shown, and what each is: text, math, display (math), code, number, html."""
    numbers: list[int] = []
    for token in tokens:
        match token.type:
            case "inline":
                yield from _inline(token.children or [])
                yield "\n", "text"
            case "math_block" | "math_block_label":
                yield token.content, "display"
                yield "\n", "text"
            case "fence" | "code_block":
                yield token.info + "\n" + token.content, "code"
            case "html_block":
                yield _without_tags(token.content), "html"
            case "ordered_list_open":
                numbers.append(int(token.attrGet("start") or 1))
            case "ordered_list_close":
                numbers.pop()
            case "list_item_open" if token.info:
                yield f"{numbers[-1]}. ", "number"
                numbers[-1] += 1


def _inline(children: list[Token]) -> Iterator[tuple[str, str]]:
    for child in children:
        match child.type:
            case "softbreak" | "hardbreak":
                yield "\n", "text"
            case "math_inline" | "math_inline_double":
                yield child.content, "display" if child.type.endswith("double") else "math"
            case "html_inline":
                yield ("" if _JOINED_TAG.fullmatch(child.content) else "\n"), "html"
            case "code_inline":
                yield child.content, "code"
            case _:
                yield child.content, "text"


def _without_tags(text: str) -> str:
    return html.unescape(_TAG.sub(" ", _JOINED_TAG.sub("", text)))


def said(text: str) -> str:
    """Give what a reading says: without tags and tokens, entities as their characters."""
    text = _PICTURE.sub(r"\1", _LABEL.sub(" ", text.replace("\uff5c", "|")))
    text = _SHARE.sub(lambda match: match[0] if ", " in match[1] else match[1].replace(" ", ""), text)
    text = _TOKEN.sub(" ", _DET.sub(" ", text))
    text = html.unescape(html.unescape(_without_tags(text)))
    return _TOKEN.sub(" ", text)


def words(text: str) -> Counter[str]:
    """Count the words, those of formulas without TeX's commands."""
    return Counter(_WORD.findall(_COMMAND.sub(" ", text).lower()))


class Page:
    """A reading and all that is made of it."""

    def __init__(self, row: Row) -> None:
        known = PageFacts.from_json(row["facts"]) if row.get("facts") else PageFacts(Placement(595.0, 842.0))
        self.raw: str = row["text"]
        self.result = PageResult(0, Verdict.OK, "", Reading(0, self.raw, "stop", 1, 1.0), facts=known)
        facts = SourceFacts("pdf", 1, "")
        document = Document("page.pdf", facts, (self.result,), "", "", datetime.now(UTC), 0.0)
        self.markdown = markdown.sidecar(document, Style(front_matter=False))
        self.text = plain_text.plain(markdown.section(self.result, Style(), noted=False))
        self.tokens = _renderer().parse(self.markdown)
        self.pieces = list(shown(self.tokens))
        self.shown = "".join(f" {text} " if kind in ("math", "display") else text for text, kind in self.pieces)
        self.prose = "".join(text for text, kind in self.pieces if kind not in ("math", "display"))
        self.blocks = layout_blocks.parse(self.raw)
        self.grounded = "<|ref|>" in self.raw

    def faults(self) -> Iterator[tuple[str, str]]:
        """Give the kind of each fault, and where it is."""
        for line in self.prose.split("\n"):
            if re.fullmatch(r"\s*\*[^*]+\*\s*", line):
                yield "caption in asterisks", line
        for line in self.text.split("\n"):
            if re.fullmatch(r"\s*\*[^*]+\*\s*", line):
                yield "asterisks in the text file", line
        for found in _OPEN_HYPHEN.finditer(self.prose):
            yield "space behind a hyphen", self.prose[max(0, found.start() - 20) : found.end() + 20]
        for block in self.blocks:
            if "<table" in block.text and block.label not in ("table", "text"):
                yield "table in a caption's block", block.text[:60]
        yield from self._unused_boxes()
        for found in re.finditer(r"<\|[^<>\n]{0,40}\|?>?|<(?:fcel|ecel|lcel|ucel|nl)>|[|\uff5c]>", self.shown):
            yield "tag or token", self.shown[max(0, found.start() - 20) : found.end() + 20]
        for found in re.finditer(r"(?m)^(?:image_caption|figure_title|paragraph|table_caption)$", self.shown):
            yield "label as text", found[0]
        yield from self._structure()
        for found in _ENTITY.finditer(self.prose):
            yield "entity as text", self.prose[max(0, found.start() - 20) : found.end() + 20]
        for found in re.finditer(r"\\\(\s*\\\)|\$\$(?!\S)", self.prose):
            yield "empty formula", self.prose[max(0, found.start() - 20) : found.end() + 20]
        for found in re.finditer(r"\\[()\[\]]", self.prose):
            if re.search(r"\\\((?:[^\\]|\\[^()])*\\\)", self.prose[max(0, found.start() - 200) : found.start() + 200]):
                yield "formula as text", self.prose[max(0, found.start() - 20) : found.end() + 40]
        yield from self._formulas()
        for found in _BESIDE_FORMULA.finditer(self._with_dollars):
            yield "space beside a formula", self._with_dollars[max(0, found.start() - 20) : found.end() + 20]

    @property
    def _with_dollars(self) -> str:
        """What is shown, formulas within lines between dollars, and no other dollars."""
        return "".join(f"${text}$" if kind == "math" else text.replace("$", "") for text, kind in self.pieces)

    def _unused_boxes(self) -> Iterator[tuple[str, str]]:
        """Find blocks with several boxes of which the searchable PDF has text in the first alone."""
        starts = [(strip.x / 595.0, strip.y / 842.0) for strip in text_placement.strips(self._on_plain_paper())]
        for block in self.blocks:
            if len(block.boxes) > 1 and len(block.text) > 20 * len(block.boxes) and block.label != "table":
                used = [
                    any(b.left - 0.01 <= x <= b.right and b.top - 0.01 <= y <= b.bottom + 0.01 for x, y in starts)
                    for b in block.boxes
                ]
                if not all(used):
                    yield "boxes without text in the PDF", f"{block.text[:40]} {used}"

    def _on_plain_paper(self) -> PageResult:
        facts = PageFacts(Placement(595.0, 842.0))
        return PageResult(0, Verdict.OK, "", self.result.reading, facts=facts)

    def _structure(self) -> Iterator[tuple[str, str]]:
        kinds = Counter(token.type for token in self.tokens)
        if kinds["blockquote_open"]:
            yield "line taken for a quotation", str(kinds["blockquote_open"])
        if kinds["code_block"] or (kinds["fence"] and "```" not in self.raw):
            yield "text taken for code", str(kinds["code_block"])
        if self.grounded:
            titles = sum(block.label in ("title", "sub_title") and bool(block.text) for block in self.blocks)
            signs = len(re.findall(r"(?m)^#+ ", self.raw))
            if kinds["heading_open"] > max(titles, 0) + max(0, signs - self._signs_in_text() - titles):
                yield "text taken for a heading", f"{kinds['heading_open']} headings, {titles} titles"
        if any(token.type == "lheading_open" for token in self.tokens):
            yield "text taken for a heading", "underlined"

    def _signs_in_text(self) -> int:
        texts = (block.text for block in self.blocks if block.label not in ("title", "sub_title"))
        return sum(len(re.findall(r"(?m)^#+ ", text)) for text in texts)

    def _formulas(self) -> Iterator[tuple[str, str]]:
        for text, kind in self.pieces:
            if kind == "math" and _VALUE.fullmatch(text) and ", " not in text:
                yield "number as a formula", text
            if kind in ("math", "display") and re.search(r"(?<!\\)\$|\\[()](?!\S*\\text)", text.replace("\\\\", "  ")):
                yield "formula in pieces", text[:80]

    def round_trip(self) -> Iterator[tuple[str, str]]:
        """Give the words that the Markdown lost, and those that it made up."""
        before, after = words(said(self.raw)), words(html.unescape(_TAG.sub(" ", self.shown)))
        for word, count in (before - after).items():
            yield "word lost", f"{word} ({count})"
        for word, count in (after - before).items():
            yield "word made up", f"{word} ({count})"

    def formulas(self) -> list[tuple[str, bool]]:
        """List the formulas that a renderer gets, and whether each stands on lines of its own."""
        return [(text.strip(), kind == "display") for text, kind in self.pieces if kind in ("math", "display")]


def outputs(rows: list[Row], listed: str, katex: Path | None) -> None:
    """Print how many faults of each kind there are, and on how many pages."""
    counts: Counter[str] = Counter()
    pages: Counter[str] = Counter()
    formulas: list[tuple[str, bool]] = []
    for row in rows:
        page = Page(row)
        found = [*page.faults(), *page.round_trip()]
        counts.update(kind for kind, _ in found)
        pages.update({kind for kind, _ in found})
        formulas += page.formulas()
        for kind, where in found:
            if kind == listed:
                print(f"  {row['name'][-40:]}: {where!r}")
    print(f"{len(rows)} readings")
    for kind in KINDS:
        print(f"  {kind:32} {counts[kind]:6} on {pages[kind]:4} pages")
    if katex:
        bad = parsed_by_katex(formulas, katex)
        print(f"  {'formula that KaTeX refuses':32} {len(bad):6} of {len(formulas)}")
        if listed == "katex":
            print("\n".join(f"  {text!r}" for text in bad))


KINDS = [
    "caption in asterisks", "asterisks in the text file", "space behind a hyphen", "table in a caption's block",
    "boxes without text in the PDF", "tag or token", "label as text", "line taken for a quotation",
    "text taken for code", "text taken for a heading", "entity as text", "empty formula", "formula as text",
    "formula in pieces", "space beside a formula", "number as a formula", "word lost", "word made up",
]  # fmt: skip


def parsed_by_katex(formulas: list[tuple[str, bool]], folder: Path) -> list[str]:
    """List those that KaTeX can't parse."""
    script = (
        f"const katex = require({json.dumps(str(folder / 'node_modules/katex'))});"
        "const told = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "const bad = told.filter(one => {"
        " try { katex.renderToString(one[0], {strict: false, displayMode: one[1]}); return false }"
        " catch { return true } }); console.log(JSON.stringify(bad))"
    )
    done = subprocess.run(
        ["node", "-e", script], input=json.dumps(formulas), text=True, capture_output=True, check=True
    )
    return [text for text, _ in json.loads(done.stdout)]


# Verdicts


def kind_of(row: Row) -> str:
    """Say what a reading is known to be."""
    if "judged" in row:
        return str(row["judged"])
    agreement = row["agreement"]
    return "good by agreement" if min(agreement["precision"], agreement["recall"]) >= 0.8 else "unknown"


def verdicts(rows: list[Row], listed: str) -> None:
    """Print how many of each kind are called good, and what a verdict costs."""
    results: defaultdict[str, list[bool]] = defaultdict(list)
    costs = []
    for row in rows:
        facts = PageFacts.from_json(row["facts"]) if row.get("facts") else None
        kind = kind_of(row)
        if facts is None and kind == "unknown":
            continue
        page = PageImage(0, PixelSize(1, 1), b"", 0, facts or PageFacts())
        reading = Reading(0, row["text"], row.get("finish", "stop"), len(row["text"]) // 3, 1.0)
        began = time.process_time()
        result = verdict.judge(page, reading)
        costs.append(time.process_time() - began)
        results[kind].append(result.verdict.sound)
        wrong = result.verdict.sound != kind.startswith("good")
        if listed == kind and (wrong or kind == "unknown") and not (kind == "unknown" and result.verdict.sound):
            print(f"  {row['name'][-50:]}: {result.verdict} {result.reason} ({row.get('why') or row.get('agreement')})")
    bad = [sound for kind, cases in results.items() for sound in cases if not kind.startswith(("good", "unknown"))]
    good = [sound for kind, cases in results.items() for sound in cases if kind.startswith("good")]
    for kind, cases in sorted(results.items()):
        print(f"  {kind:32} {len(cases):6}, {sum(cases)} called good, {len(cases) - sum(cases)} called bad")
    print(f"  bad ones found {1 - sum(bad) / len(bad):.1%} of {len(bad)}", end="; ")
    print(f"good ones called bad {1 - sum(good) / len(good):.1%} of {len(good)}")
    costs.sort()
    told = f"{1000 * sum(costs) / len(costs):.2f} mean, {1000 * costs[len(costs) // 2]:.2f} median"
    print(f"  ms of CPU for a verdict: {told}, {1000 * costs[-1]:.1f} at most")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", nargs="?", default="all", choices=["chosen", "held-out", "all"])
    parser.add_argument("--list", default="", help="print the cases of this kind")
    parser.add_argument("--katex", type=Path, help="a folder with KaTeX in node_modules")
    given = parser.parse_args()
    rows = rows_of(given.folder, given.part)
    outputs(rows, given.list, given.katex)
    verdicts(rows, given.list)


if __name__ == "__main__":
    main()
