"""What stands around the pages, written and read back: front matter, page markers, notes beside refused sources."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from ocrd.display import shown
from ocrd.model import PageResult

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's, where PyYAML was built with it: five times as fast


_SEALED = re.compile(rb"<!-- ocrd ([0-9a-f]{16}) -->\n\Z")


MARKER = re.compile(r"<!-- page (\d+) -->")
"""Where a page begins; its number counts in the source."""


def note(name: str, what: str, remedy: str, date: str) -> str:
    """Write NAME.error.md: what is wrong with a refused source and what a person can do. It ends with its seal."""
    text = (
        f"# {inline(name)} was not read\n\n"
        f"**What happened:** {inline(what)}\n\n"
        f"**What to do:** {inline(remedy)}\n\n"
        f"What was dropped lies beside this note, unchanged. To try it again, move it back into the inbox.\n\n"
        f"ocrd, {date}\n"
    )
    return f"{text}<!-- ocrd {_seal(text.encode())} -->\n"


def pages_of(sidecar: str) -> list[int]:
    """List the numbers of the pages whose markers a sidecar has."""
    return [int(number) for number in MARKER.findall(sidecar)]


def facts_of(sidecar: bytes) -> dict[str, Any] | None:
    """Read back the front matter of a sidecar of ours; None if there is none."""
    head, end, _ = sidecar.removeprefix(b"---\n").partition(b"\n---\n")
    if not end or not sidecar.startswith(b"---\n"):
        return None
    try:
        facts = yaml.safe_load(head)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
        return None
    wanted = {"source": str, "sha256": str, "pages": int, "status": str, "date": str}
    sound = isinstance(facts, dict) and all(isinstance(facts.get(key), kind) for key, kind in wanted.items())
    return facts if sound else None


def is_own_note(data: bytes) -> bool:
    """Whether this is a note of ours that nobody has changed."""
    found = _SEALED.search(data)
    return found is not None and found[1].decode() == _seal(data[: found.start()])


def _seal(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def problem(page: PageResult) -> dict[str, object]:
    """Tell in the front matter of a page that a person should look at."""
    return {"page": page.index + 1, "verdict": str(page.verdict), "reason": shown(page.reason)}


def front_matter(facts: Mapping[str, object]) -> str:
    """Write facts as a sidecar begins with them."""
    text = yaml.dump(facts, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{text}---\n"


def inline(text: str) -> str:
    """Make a file name or a library's message fit into one line of Markdown."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(shown(text).split()))
