"""Tables: from HTML to rows, and to Markdown where it can hold them. Pure."""

from html.parser import HTMLParser
from typing import NamedTuple

from ocrd.output.prose import SIGNS


class Table(NamedTuple):
    """What a table says, without its merged cells' extent."""

    caption: str
    """Text outside of the rows, as that of cells; seldom any."""
    rows: tuple[tuple[str, ...], ...]
    """The cells' text, lines in a cell by line feeds; HTML's escapes still stand, and signs such as <sup> are left."""
    plain: bool
    """Whether rows and caption are the whole of it: no merged cells, no table in a table."""


def parse(html: str) -> Table:
    """Read one table, as `sanitize.pieces` gives it. No text is lost."""
    reader = _Reader()
    reader.feed(html.replace("&", "&amp;"))
    reader.close()
    rows = tuple(tuple(cell.strip() for cell in row) for row in reader.rows)
    return Table(reader.outside.strip(), rows, reader.plain)


def as_markdown(table: Table) -> str | None:
    """Write a table as Markdown's own, its first row as the head; None if it does not fit one.

    Cells are to be safe Markdown already.
    """
    widths = {len(row) for row in table.rows}
    if not table.plain or len(widths) != 1 or 0 in widths:
        return None
    (width,) = widths
    head, *body = (_row(row) for row in table.rows)
    lines = [head, "| " + " | ".join(["---"] * width) + " |", *body]
    return "\n".join([table.caption, "", *lines] if table.caption else lines)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Keep a cell in its line and its column (GFM 0.29, 4.10)."""
    return "<br>".join(line.strip() for line in text.replace("|", r"\|").split("\n") if line.strip())


class _Reader(HTMLParser):
    """Gathers cells. Of the tags within them the signs are left, and breaks become those of lines."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.outside = ""
        self.plain = True
        self._depth = 0
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        match tag:
            case "table":
                self._depth += 1
                self.plain = self.plain and self._depth == 1
            case "tr":
                self.rows.append([])
            case "td" | "th":
                self.plain = self.plain and not any(value not in ("1", "") for _, value in attrs)
                self.rows = self.rows or [[]]
                self.rows[-1].append("")
                self._in_cell = True
            case "br":
                self.handle_data("\n")
            case _ if tag in SIGNS:
                self.handle_data(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False
        elif tag in SIGNS:
            self.handle_data(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data
        elif data.strip():
            self.outside += f"{data}\n"
