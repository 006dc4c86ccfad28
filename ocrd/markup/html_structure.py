"""HTML in which some models write whole pages, as the Markdown that says the same. Pure.

It is taken for markup only if it is nothing else: all of its tags are ones that shape text, and all that need an end
have one, but for those of a page in HTML that is cut off. The source of a web page, printed, is text. Tables and code
stay as they are.
"""

import re
from collections import Counter
from html import unescape

_TAG = re.compile(
    r"(?P<whole>^`{3}.*?(?:^`{3}|\Z)|<table\b.*?(?:</table>|\Z))"
    r"|<(?P<end>/?)(?P<name>[A-Za-z]\w*)(?P<about>(?:\s[^<>]*)?)/?>",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
"""A tag, or code or a table as a whole."""
_PARTS = {"html", "body", "main", "section", "article", "header", "footer", "aside", "figure", "dl", "div"}
_PARAGRAPHS = _PARTS | {"p", "figcaption", "blockquote", "pre", "dt", "dd", "ul", "ol"}
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_NAMES = {"page_number", "watermark", "signature"}
"""What some models call parts of a page, as if HTML had them."""
_PLAIN = _NAMES | {"span", "font", "small", "big", "mark", "label", "ins", "cite", "q", "abbr", "code", "tt"}
_INLINE = _PLAIN | {"a", "b", "i", "u", "s", "em", "strong", "sub", "sup", "center"}
_VOID = {"br", "hr", "img"}
_KNOWN = _PARAGRAPHS | _HEADINGS | _INLINE | _VOID | {"li"}
_HREF = re.compile(r"\shref\s*=\s*[\"']((?:https?://|mailto:)[^\s\"'()<>\\]*)[\"']", re.IGNORECASE)
_ALT = re.compile(r"\salt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)

_DEEPEST = 10
"""Lists in lists that are shown as such."""


def as_markdown(text: str) -> str:
    """Write paragraphs, headings, lists and links as Markdown; text whose tags are not all of these comes back."""
    tags = _tags(text)
    names = {tag["name"].lower() for tag in tags}
    if not names & (_PARAGRAPHS | _HEADINGS | _NAMES | {"li", "span", "a", "img", "hr"}) or not names <= _KNOWN:
        return text
    return written(text) if _is_whole(tags, cut_off=text.lstrip().startswith(tags[0][0])) else text


def written(text: str) -> str:
    """Write what is known to be HTML as Markdown; tags that shape no text stay."""
    pieces: list[str] = []
    start = 0
    lists: list[int] = []  # of each open list the number of its last item, -1 if it has none
    links: list[str] = []
    for tag in _tags(text):
        pieces.append(text[start : tag.start()])
        start = tag.end()
        pieces.append(_written(tag, lists, links))
    return re.sub(r"\n[ \t]*\n\s*\n", "\n\n", "".join([*pieces, text[start:]]))


def _tags(text: str) -> "list[re.Match[str]]":
    return [tag for tag in _TAG.finditer(text) if not tag["whole"]]


def _is_whole(tags: "list[re.Match[str]]", *, cut_off: bool) -> bool:
    """Whether all tags that need an end have one; the last ones may have none where the text may be `cut_off`."""
    paired = [tag for tag in tags if tag["name"].lower() not in _VOID]
    starts = Counter(tag["name"].lower() for tag in paired if not tag["end"])
    ends = Counter(tag["name"].lower() for tag in paired if tag["end"])
    return starts == ends or (cut_off and bool(ends) and ends <= starts)


def _written(tag: "re.Match[str]", lists: list[int], links: list[str]) -> str:
    name, end = tag["name"].lower(), bool(tag["end"])
    match name:
        case "ul" | "ol":
            if end:
                del lists[-1:]
            else:
                lists.append(0 if name == "ol" else -1)
            return "\n" if lists and not (len(lists) == 1 and not end) else "\n\n"
        case "li":
            return "" if end else _item(lists)
        case "a":
            if not end:
                href = _HREF.search(tag["about"])
                links.append(f"]({unescape(href[1])})" if href else "")
                return "[" if href else ""
            return links.pop() if links else ""
        case "img":
            alt = _ALT.search(tag["about"])
            return unescape(alt[1] or alt[2] or "") if alt else ""
        case "hr":
            return "\n\n---\n\n"
        case _ if name in _PLAIN:
            return ""
        case _ if name in _HEADINGS:
            return "\n\n" if end else f"\n\n{'#' * int(name[1])} "
        case _ if name in _PARAGRAPHS:
            return "\n\n"
        case _:
            return tag[0]


def _item(lists: list[int]) -> str:
    """Begin an item, as deep as its list."""
    indent = "    " * min(_DEEPEST, max(0, len(lists) - 1))
    if lists and lists[-1] >= 0:
        lists[-1] += 1
        return f"\n{indent}{lists[-1]}. "
    return f"\n{indent}- "
