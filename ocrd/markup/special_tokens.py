"""Special tokens: what a model is steered by and no page has printed on it. Pure.

They are of the form `<|end_of_line|>`, with bars of ASCII or ones that look like them, or mark the cells of a table in
OTSL, as PaddleOCR-VL and Docling's models write it: `<fcel>cell<fcel>cell<nl>` is a row (M. Lysak et al.,
Optimized Table Tokenization for Table Structure Recognition, 2023).
"""

import re
from dataclasses import dataclass
from html import escape
from itertools import groupby
from operator import itemgetter

_BARS = "|\uff5c\uffe8\u2502\u2758"
"""ASCII's, two of full width, one that draws boxes, and a light one."""
_BARRED = re.compile(rf"(?:<|&lt;)[{_BARS}] ?(/?[A-Za-z\u2581][\w\u2581 ]{{0,38}}[\w\u2581]) ?[{_BARS}](?:>|&gt;)")
_UNUSUAL = (*_BARS[1:], "<| ", " |>")
"""What a token has that is not written as ASCII has it."""
_ESCAPE = "&#60;"
"""HTML's own name of `<`: who does not unescape it, shows it."""
_ESCAPED = re.compile(rf"{_ESCAPE}(?=[{_BARS}])")
_CUT = re.compile(rf"<[{_BARS}]/?(?:r|re|ref|d|de|det|\w*[\u2581_][\w\u2581]*)?[{_BARS}]?")
"""The beginning of a token, where the model was stopped."""
_END, _TAIL = re.compile(r"(?:<(?:/s|eos|pad|end_of_turn|end_of_utterance)>\s*)+\Z"), 400
"""What models end with that write no bars, looked for in so many characters."""
_CELLS = {"fcel", "ecel", "lcel", "ucel", "xcel", "ched", "rhed", "srow"}
_CELL = re.compile(rf"<(?:{'|'.join(sorted(_CELLS))})>")
_CELL_TEXT = re.compile(
    rf"<(?P<kind>{'|'.join(sorted(_CELLS))})>(?P<text>[^<]*(?:<(?!(?:{'|'.join(sorted(_CELLS))})>)[^<]*)*)"
)
_OTSL = re.compile(
    rf"(?:<(?:{'|'.join(sorted(_CELLS))})>[^<]*)+<nl>(?:\s*(?:<(?:{'|'.join(sorted(_CELLS))})>[^<]*|<nl>))*"
)
_BARE = re.compile(rf"(?:<|&lt;)/?(?P<name>{'|'.join(sorted(_CELLS | {'nl', 'otsl'}))})(?:>|&gt;)")
_MOST_CELLS = 200
"""In a row."""
_TABLE = re.compile(r"<table\b.*?(?:</table>|\Z)", re.DOTALL | re.IGNORECASE)


def with_plain_bars(text: str) -> str:
    """Write the bars of all tokens as ASCII has them, and leave out those that only end a text, or that it breaks off.

    Those without bars are such at the very end alone; elsewhere they are print, or HTML.
    """
    text = _without_cut_token(_without_end(text))
    if text.isascii() or not any(sign in text for sign in _UNUSUAL):
        return text
    return _BARRED.sub(_with_plain_bars, text)


def _with_plain_bars(token: "re.Match[str]") -> str:
    return token[0] if token[0].startswith("&") else f"<|{token[1]}|>"


def _without_end(text: str) -> str:
    end = _END.search(text, max(0, len(text) - _TAIL))
    return text if end is None or ("</s>" in end[0] and "<s>" in text) else text[: end.start()]


def _without_cut_token(text: str) -> str:
    last = max(text.rfind("<"), 0)
    return text[:last] if _CUT.fullmatch(text, last) else text


def escaped(text: str) -> str:
    """Write what looks like a token so that it is kept as text of the page, until it is `unescaped`."""
    return _BARRED.sub(lambda token: f"{_ESCAPE}{token[0].removeprefix('<').removeprefix('&lt;')}", text)


def unescaped(text: str) -> str:
    """Write it as it was."""
    return _ESCAPED.sub("<", text) if _ESCAPE in text else text


def without_tokens(text: str) -> str:
    """Take all tokens away. Those that end a line become its end, and rows of OTSL become a table in HTML."""
    if "<" not in text and "&lt;" not in text:
        return text
    return with_tables(_BARRED.sub(_gap, text))


def _gap(token: "re.Match[str]") -> str:
    """Give what is left where a token stood: never are the words beside it one."""
    if "line" in token[1]:
        return "\n"
    before, after = token.string[token.start() - 1 : token.start()], token.string[token.end() : token.end() + 1]
    return " " if before.isalnum() and after.isalnum() else ""


def with_tables(text: str) -> str:
    """Write rows of OTSL as tables in HTML, and take away what is left of its tokens."""
    if not _BARE.search(text):
        return text
    outside = 0
    parts = []
    for table in _TABLE.finditer(text):
        parts += [_rows_as_html(text[outside : table.start()]), table[0]]
        outside = table.end()
    text = "".join([*parts, _rows_as_html(text[outside:])])
    return _BARE.sub(lambda token: "\n" if token["name"] == "nl" else " ", text)


def _rows_as_html(text: str) -> str:
    return _OTSL.sub(_as_html, text) if text.count("<nl>") * _MOST_CELLS > text.count("cel>") else text


def _as_html(rows: "re.Match[str]") -> str:
    return f"\n{table(rows[0])}\n"


def table(otsl: str) -> str:
    """Write a table in OTSL as HTML: `<lcel>` widens the cell to its left, `<ucel>` lengthens the one above.

    What stands outside of its cells comes before it; a text without cells comes back.
    """
    if not _CELL.search(otsl):
        return otsl.replace("<nl>", "\n")
    grid: dict[tuple[int, int], _Cell] = {}
    outside = []
    for row, text in enumerate(otsl.split("<nl>")):
        cells = list(_CELL_TEXT.finditer(text))
        outside.append(text[: cells[0].start()] if cells else text)
        for column, cell in enumerate(cells):
            left, above = grid.get((row, column - 1)), grid.get((row - 1, column))
            merged = {"lcel": left, "ucel": above, "xcel": left or above}.get(cell["kind"])
            if merged is None or cell["text"].strip():
                merged = _Cell(cell["text"].strip(), row, column, row, column)
            merged.last_row, merged.last_column = max(merged.last_row, row), max(merged.last_column, column)
            grid[row, column] = merged
    distinct = {id(one): one for one in grid.values()}
    torn = {number for number, one in distinct.items() if not one.is_whole(grid)}
    for place, one in grid.items():
        if id(one) in torn:
            grid[place] = _Cell(one.text if place == (one.row, one.column) else "", *place, *place)
    lines = (
        "".join(one.html() for place, one in line if place == (one.row, one.column))
        for _, line in groupby(sorted(grid.items(), key=itemgetter(0)), key=lambda one: one[0][0])
    )
    before = "\n".join(text.strip("\n") for text in outside if text.strip())
    return f"{before}<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


@dataclass(slots=True)
class _Cell:
    text: str
    row: int
    column: int
    last_row: int
    last_column: int

    def is_whole(self, grid: "dict[tuple[int, int], _Cell]") -> bool:
        """Whether it fills a rectangle."""
        rows, columns = range(self.row, self.last_row + 1), range(self.column, self.last_column + 1)
        return all(grid.get((row, column)) is self for row in rows for column in columns)

    def html(self) -> str:
        wide, high = self.last_column - self.column + 1, self.last_row - self.row + 1
        spans = f' colspan="{wide}"' * (wide > 1) + f' rowspan="{high}"' * (high > 1)
        return f"<td{spans}>{escape(self.text, quote=False)}</td>"
