"""What stands around the pages, written and read back: front matter, page markers, notes beside refused sources."""

import codecs
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ocrd.display import shown
from ocrd.errors import DocumentError
from ocrd.model import Document, PageResult, duplex_place

# libyaml's, where PyYAML was built with it: five times as fast, and ten times to read.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEALED = re.compile(rb"<!-- ocrd ([0-9a-f]{16}) -->\n\Z")
_FRONT = re.compile(r"---\r?\n.*?\n---\r?\n", re.DOTALL)
_MARKER = re.compile(r"<!-- page (\d+) -->")
_IDENTITY = re.compile(rb"^(?:source|sha256|pages|part|status|date):.*(?:\n[ \t].*)*", re.MULTILINE)
_SIGNED = re.compile(rb"^ocrd, watch ([A-Za-z0-9._-]+), ", re.MULTILINE)
_NUMBERED_FILE = re.compile(r"[-_ (]*([0-9]{1,9})\)?\.[^./]+")
_MOST_MISSING = 100
_LEFT_OUT = re.compile(r"<!-- (\d+) running lines? left out -->")
_REQUIRED = {"source": str, "sha256": str, "pages": int, "status": str, "date": str}


class Divided(NamedTuple):
    """A sidecar, taken apart at its markers. Put together again, it is the same text."""

    front: str
    """The front matter with its lines of dashes; empty if there is none."""
    head: str
    """What stands before the first page."""
    pages: list[tuple[int, str]]
    """The number of each page, from 1 in the source, and the text behind its marker."""


def marker(number: int) -> str:
    """Write the comment with which a page begins; its number counts in the source, from 1."""
    return f"<!-- page {number} -->"


def divided(sidecar: str) -> Divided:
    """Take a sidecar apart."""
    match = _FRONT.match(sidecar)
    front = match[0] if match else ""
    head, *pieces = _MARKER.split(sidecar[len(front) :])
    return Divided(front, head, list(zip(map(int, pieces[::2]), pieces[1::2], strict=True)))


def left_out_mark(lines: int) -> str:
    """Write the comment below the marker of a page from which running titles or its number are left out."""
    return f"<!-- {lines} running {'line' if lines == 1 else 'lines'} left out -->"


def left_out(sidecar: str) -> dict[str, object]:
    """Return what is told of all running lines that are left out of a sidecar, by its comments; nothing if none are."""
    lines = sum(map(int, _LEFT_OUT.findall(sidecar)))
    return {"running_lines_left_out": lines} if lines else {}


def pages_of(sidecar: str) -> list[int]:
    """List the numbers of the pages whose markers a sidecar has."""
    return [number for number, _ in divided(sidecar).pages]


def facts_of(sidecar: bytes) -> dict[str, Any] | None:
    """Read back the front matter of a sidecar of ours, which may be cut off behind it; None if there is none."""
    front = _front_of(sidecar)
    return None if front is None else _sound(front)


def identity_of(sidecar: bytes) -> dict[str, Any] | None:
    """Read only `source`, `sha256`, `pages`, `part`, `status` and `date`, and seldom more: for many thousands."""
    front = _front_of(sidecar)
    if front is None:
        return None
    return _sound(b"\n".join(_IDENTITY.findall(front))) or _sound(front)


def _front_of(sidecar: bytes) -> bytes | None:
    text = sidecar.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    head, end, _ = text.partition(b"\n---\n")
    return head.removeprefix(b"---\n") if end and head.startswith(b"---\n") else None


def _sound(front: bytes) -> dict[str, Any] | None:
    try:
        facts = yaml.load(front, Loader=_Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return None  # anybody can have written it, and PyYAML does not translate every error of a wrong value
    sound = isinstance(facts, dict) and all(isinstance(facts.get(key), kind) for key, kind in _REQUIRED.items())
    return facts if sound else None


def facts(document: Document) -> dict[str, object]:
    """Return what is told of a document beside its pages; names of files are spelled as for a person."""
    return {
        "source": shown(document.source),
        **({"files": list(map(shown, document.facts.files))} if document.facts.files else {}),
        **({"dropped_as": list(map(shown, document.facts.dropped_as))} if document.facts.dropped_as else {}),
        **({"missing_numbers": missing} if (missing := missing_numbers(document.source, document.facts.files)) else {}),
        **({"duplex": _origins(document)} if document.facts.kind == "duplex" else {}),
        "sha256": document.facts.sha256,
        "pages": document.facts.pages,
        **({"attachments": list(map(shown, document.facts.attachments))} if document.facts.attachments else {}),
        **({"part": f"{document.part[0]} of {document.part[1]}"} if document.part else {}),
        **({"pages_of_scan": ranges(page.index + 1 for page in document.pages)} if document.part else {}),
        **({"not_in_pdf": list(document.not_in_pdf)} if document.not_in_pdf else {}),
        **({"blank_backs_left_out": ranges(document.blank_backs)} if document.blank_backs else {}),
        **({"settings": dict(document.settings)} if document.settings else {}),
        "status": document.status,
        "engine": document.engine,
        "model": document.model,
        "date": document.date.isoformat(timespec="seconds"),
        "seconds": round(document.seconds, 1),
    }


def _origins(document: Document) -> dict[int, str]:
    """Tell of each page of a duplex scan, by number, which page of which of its files it is."""
    names = [shown(Path(file).name) for file in document.facts.files]
    places = {page.index: duplex_place(page.index, document.facts.pages) for page in document.pages}
    return {index + 1: f"{names[file]}, page {place + 1}" for index, (file, place) in places.items()}


def ranges(numbers: Iterable[int]) -> str:
    """Write numbers as ranges, as `ocrd rerun --pages` takes them: `3-5,9`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def missing_numbers(source: str, files: Sequence[str]) -> list[int]:
    """List the numbers that a sequence of images, with names that go on from that of the source, leaves out.

    At most `_MOST_MISSING`: with more, the numbers count something else.
    """
    found = [_NUMBERED_FILE.fullmatch(file.removeprefix(source)) for file in files if file.startswith(source)]
    there = {int(one[1]) for one in found if one}
    if len(there) < len(files) or not there or max(there) - min(there) + 1 - len(there) > _MOST_MISSING:
        return []
    return sorted(set(range(min(there), max(there))) - there)


def front_matter(facts: Mapping[str, object]) -> str:
    """Write facts as a sidecar begins with them."""
    text = yaml.dump(facts, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{text}---\n"


def problems(document: Document) -> list[dict[str, object]]:
    """Return what the front matter lists for a person to look at: the file, what could not be made of it, pages."""
    reasons = (*document.facts.problems, *document.failures)
    whole: list[dict[str, object]] = [{"reason": shown(reason)} for reason in reasons]
    return [*whole, *map(problem, document.problems)]


def problem(page: PageResult) -> dict[str, object]:
    """Return what the front matter lists of a page that a person should look at."""
    return {"page": page.index + 1, "verdict": str(page.verdict), "reason": shown(page.reason)}


def renewed(front: str, pages: Sequence[PageResult], rerun: Mapping[str, object], body: str) -> str:
    """Write a front matter anew after a rerun of some pages; `rerun` is the entry that it gets, `date` among it.

    `body` is what stands below it now.

    Raises DocumentError if it is damaged.
    """
    facts = facts_of(front.encode())
    problems, reruns = ((facts or {}).get(key) or [] for key in ("problems", "reruns"))
    if facts is None or not isinstance(problems, list) or not isinstance(reruns, list):
        raise DocumentError("The front matter of the sidecar is damaged.", "Mend it, or delete it, and try again.")
    numbers = {page.index + 1 for page in pages}
    remaining = [entry for entry in problems if not (isinstance(entry, dict) and entry.get("page") in numbers)]
    remaining += [problem(page) for page in pages if not page.verdict.sound]
    remaining.sort(key=lambda entry: entry.get("page", 0) if isinstance(entry, dict) else 0)
    facts |= {"status": "partial" if remaining else "complete", "date": rerun["date"], "problems": remaining}
    if "running_lines_left_out" in facts:
        facts |= {"running_lines_left_out": 0} | left_out(body)
    return front_matter(facts | {"reruns": [*reruns, dict(rerun)]})


def note(name: str, what: str, remedy: str, date: str, watch: str = "") -> str:
    """Write NAME.error.md: what is wrong with a refused source and what a person can do. It ends with its seal.

    It names the `watch`, since several can share an error folder.
    """
    return _note(f"{inline(name)} was not read", what, remedy, date, watch)


def note_of_problems(name: str, sidecar: str, date: str, watch: str) -> str:
    """Write NAME.error.md for an original that was delivered, and lies here since pages of it have problems."""
    what = f"It was read, and {sidecar} was delivered; pages of it may be wrong or incomplete."
    remedy = "Look at these pages: `ocrd review` shows them, `ocrd rerun` reads them again."
    return _note(f"{inline(name)} has pages with problems", what, remedy, date, watch)


def watch_in_note(data: bytes) -> str | None:
    """Read which watch wrote a note; None if it does not say."""
    found = _SIGNED.search(data)
    return found[1].decode() if found else None


def _note(title: str, what: str, remedy: str, date: str, watch: str) -> str:
    signed = f"ocrd, watch {watch}, {date}" if watch else f"ocrd, {date}"
    text = (
        f"# {title}\n\n"
        f"**What happened:** {inline(what)}\n\n"
        f"**What to do:** {inline(remedy)}\n\n"
        f"What was dropped lies beside this note, unchanged. To try it again, move it back into the inbox.\n\n"
        f"{signed}\n"
    )
    return f"{text}<!-- ocrd {_seal(text.encode())} -->\n"


def is_own_note(data: bytes) -> bool:
    """Whether this is a note of ours that nobody has changed."""
    found = _SEALED.search(data)
    return found is not None and found[1].decode() == _seal(data[: found.start()])


def _seal(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def inline(text: str) -> str:
    """Make a file name or a library's message fit into one line of Markdown."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(shown(text).split()))
