"""Space that a model puts behind a hyphen within a word: `long- term`. Pure.

On paper a hyphen is followed by space where a word's second part is left out (`short- and long-term`) or where it ends
a list's item, and the page's own text says so, if it has any.
"""

import re
from collections.abc import Container

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_HYPHEN = re.compile(rf"(?<=[^\W_])(?<![{_CJK}])-[ \u00a0](?=([^\W_]+)(-?))")
_INITIALS = re.compile(r"(?<=\b[A-Z]\.)- (?=[A-Z]\.)")
_DASH = re.compile(r"(?<=[^\W_])- - ?(?=[^\W_])")
"""A dash of two hyphens, as typewriters have it."""
_BEFORE = re.compile(r"[^\W_]+\Z")
_JOINING = re.compile(
    r"(?:and|or|nor|to|but|plus|as|than|versus|vs|through|und|oder|bis|sowie|noch|bzw|beziehungsweise|et|ou|y|o|u|e|ed|od"
    r"|a|i|oraz|lub|albo|en|of|tot|och|eller|og|samt|ja|tai|и|или|да|та|або|AND|OR|TO|UND|ODER|BIS|ET|OU)"  # noqa: RUF001 - Russian
)
"""What stands between two words of which the first shares the second's end."""
_NEXT_ITEM = re.compile(rf"(?<=[^\s(\[\d-])- (?=[A-Z{_CJK}])")
_FIRST_ITEM = re.compile(r"\s*- \S")
_NUMBERED = re.compile(r"(?:\A|.*\n)[ \t]*\d{1,3}\Z", re.DOTALL)
_INDENT = 12
"""Characters before the hyphen of a list's number."""


def closed(text: str, suspended: Container[str] = ()) -> str:
    """Take the space away; not behind what is in `suspended`, such as `long- term`, where the page has it so.

    Items of a list that were written in one line are taken apart first.
    """
    if "- " not in text and "-\u00a0" not in text:
        return text
    if _FIRST_ITEM.match(text):
        text = _NEXT_ITEM.sub("\n- ", text)
    text = _DASH.sub("--", _INITIALS.sub("-", text))
    return _HYPHEN.sub(lambda match: _closed(match, suspended), text)


def open_hyphens(text: str) -> tuple[str, ...]:
    """List all words in a text behind whose hyphen there is space, with what follows, each once."""
    return tuple(dict.fromkeys(_pair(match) for match in _HYPHEN.finditer(text)))


def _closed(match: "re.Match[str]", suspended: Container[str]) -> str:
    joining = not match[2] and _JOINING.fullmatch(match[1])  # `one- of- a-kind` is one word
    begun = max(0, match.start() - _INDENT)
    head = f"{'.' if begun else ''}{match.string[begun : match.start()]}"
    stays = joining or _NUMBERED.match(head)
    return match[0] if stays or _pair(match) in suspended else "-"


def _pair(match: "re.Match[str]") -> str:
    before = _BEFORE.search(match.string[max(0, match.start() - 40) : match.start()])
    return f"{before[0] if before else ''}- {match[1]}".lower()
