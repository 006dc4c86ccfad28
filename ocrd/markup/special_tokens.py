"""Special tokens: what a model is steered by and no page has printed on it. Pure.

They are of the form `<|end_of_line|>`, with bars of ASCII or ones that look like them, or mark the cells of a table in
OTSL, as PaddleOCR-VL and Docling's models write it: `<fcel>cell<fcel>cell<nl>` is a row (M. Lysak et al.,
Optimized Table Tokenization for Table Structure Recognition, 2023).
"""

import re
from html import escape

_BARS = "|\uff5c\uffe8\u2502\u2758"
"""ASCII's, two of full width, one that draws boxes, and a light one."""
_BARRED = re.compile(rf"(?:<|&lt;)[{_BARS}] ?(/?[A-Za-z\u2581][\w\u2581 ]{{0,38}}[\w\u2581]) ?[{_BARS}](?:>|&gt;)")
_CUT = re.compile(rf"<[{_BARS}]/?(?:r|re|ref|d|de|det|\w*[\u2581_][\w\u2581]*)?[{_BARS}]?")
"""The beginning of a token, where the model was stopped."""
_CELLS = {"fcel", "ecel", "lcel", "ucel", "xcel", "ched", "rhed", "srow"}
_CELL = re.compile(rf"<(?:{'|'.join(sorted(_CELLS))})>")
_OTSL = re.compile(
    rf"(?:<(?:{'|'.join(sorted(_CELLS))})>[^<]*)+<nl>(?:\s*(?:<(?:{'|'.join(sorted(_CELLS))})>[^<]*|<nl>))*"
)
_BARE = re.compile(rf"(?:<|&lt;)/?(?P<name>{'|'.join(sorted(_CELLS | {'nl', 'otsl'}))})(?:>|&gt;)")
_MOST_CELLS = 200
"""In a row."""
_TABLE = re.compile(r"<table\b.*?(?:</table>|\Z)", re.DOTALL | re.IGNORECASE)


def with_plain_bars(text: str) -> str:
    """Write the bars of all tokens as ASCII has them, and leave out the beginning of one where the text is cut off."""
    text = _without_cut_token(text)
    return text if text.isascii() else _BARRED.sub(_with_plain_bars, text)


def _with_plain_bars(token: "re.Match[str]") -> str:
    return token[0] if token[0].startswith("&") else f"<|{token[1]}|>"


def _without_cut_token(text: str) -> str:
    last = max(text.rfind("<"), 0)
    return text[:last] if _CUT.fullmatch(text, last) else text


def without_tokens(text: str) -> str:
    """Take all tokens away. Those that end a line become its end, and rows of OTSL become a table in HTML."""
    if "<" not in text and "&lt;" not in text:
        return text
    text = _BARRED.sub(lambda token: "\n" if "line" in token[1] else "", text)
    if not _BARE.search(text):
        return text
    outside = 0
    parts = []
    for table in _TABLE.finditer(text):
        parts += [_with_tables(text[outside : table.start()]), table[0]]
        outside = table.end()
    text = "".join([*parts, _with_tables(text[outside:])])
    return _BARE.sub(lambda token: "\n" if token["name"] == "nl" else " ", text)


def _with_tables(text: str) -> str:
    """Write rows of OTSL as HTML."""
    return _OTSL.sub(_as_html, text) if text.count("<nl>") * _MOST_CELLS > text.count("cel>") else text


def _as_html(rows: "re.Match[str]") -> str:
    lines = []
    for row in rows[0].split("<nl>"):
        cells = "".join(f"<td>{escape(cell.strip(), quote=False)}</td>" for cell in _CELL.split(row)[1:])
        lines.append(f"<tr>{cells}</tr>" if cells else "")
    return f"\n<table>{''.join(lines)}</table>\n"
