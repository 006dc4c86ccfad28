"""From a document's pages to its sidecar, and from a refusal to its note. Pure: text in, text out.

What the engine read is text, never markup of ours: it can't end the front matter, and it can't forge a page marker.
"""

import re
from unicodedata import category

import yaml

from ocrd.fsio import shown
from ocrd.model import Document, PageResult, Verdict

_BOX = r"\[\s*\d{1,3}(?:\s*,\s*\d{1,3}){3}\s*\]"
_GROUNDING = re.compile(rf"<\|ref\|>\w+<\|/ref\|><\|det\|>\[\s*{_BOX}(?:\s*,\s*{_BOX})*\s*\]<\|/det\|>\n?")
"""DeepSeek-OCR's note of what stands where: a label and boxes in thousandths of the page. Anything else is text."""
_COMMENT = re.compile(r"<!--|-->")
_COMMENT_ESCAPES = {"<!--": "&lt;!--", "-->": "--&gt;"}


def sidecar(document: Document, *, front_matter: bool) -> str:
    """Write the Markdown of a document: facts if wanted, then every page in order under its marker."""
    head = [_front_matter(document)] if front_matter else []
    return "\n".join([*head, *(_page(page) for page in document.pages)])


def note(name: str, what: str, remedy: str, date: str) -> str:
    """Write NAME.error.md: what is wrong with a refused source and what a person can do."""
    return (
        f"# {_inline(name)} was not read\n\n"
        f"**What happened:** {_inline(what)}\n\n"
        f"**What to do:** {_inline(remedy)}\n\n"
        f"The file lies beside this note, unchanged. To try it again, move it back into the inbox.\n\n"
        f"ocrd, {date}\n"
    )


def _front_matter(document: Document) -> str:
    facts = {
        "source": shown(document.source),
        "sha256": document.facts.sha256,
        "pages": document.facts.pages,
        "status": document.status,
        "engine": document.engine,
        "model": document.model,
        "date": document.date.isoformat(timespec="seconds"),
        "seconds": round(document.seconds, 1),
        "problems": [
            {"page": page.index + 1, "verdict": str(page.verdict), "reason": shown(page.reason)}
            for page in document.problems
        ],
    }
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=120)}---\n"


def _page(page: PageResult) -> str:
    """Write one page: its marker, a visible word on any problem, and the text that there is."""
    parts = [f"<!-- page {page.index + 1} -->"]
    if page.verdict is not Verdict.OK:
        parts.append(f"> *Page {page.index + 1} {_told(page)}.*")
    text = page.reading.text if page.reading else ""
    if text.strip():
        parts.append(_clean(text))
    return "\n\n".join(parts) + "\n"


def _told(page: PageResult) -> str:
    reason = _inline(page.reason).rstrip(".")
    match page.verdict:
        case Verdict.BLANK:
            return "is blank"
        case Verdict.FAILED:
            return f"could not be read: {reason}"
        case _:
            return f"may be wrong or incomplete: {reason}"


def _clean(text: str) -> str:
    """Make the engine's text safe to stand between our markers: valid UTF-8, no comments, no control characters."""
    text = _GROUNDING.sub("", text).encode("utf-8", "replace").decode()
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(char for char in text if char in "\n\t" or category(char) != "Cc")
    return _COMMENT.sub(lambda match: _COMMENT_ESCAPES[match[0]], text).strip("\n")


def _inline(text: str) -> str:
    """Make a file name or a library's message fit into one line of Markdown."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(shown(text).split()))
