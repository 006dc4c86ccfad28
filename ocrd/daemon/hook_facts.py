"""What hooks are given: all that is known of a document at its end."""

import json
from pathlib import Path
from typing import Any

from ocrd.storage import notes
from ocrd.storage.safe_paths import regular
from ocrd.telemetry.events import Ended

Facts = dict[str, Any]
"""As JSON takes them."""
DAMAGE = (OSError, ValueError, KeyError, TypeError)
"""What comes of reading facts that are damaged."""


def of(event: Ended) -> Facts:
    """Return what a program finds on its standard input, and a URL is sent."""
    known = {
        "event": event.kind,
        "watch": event.watch,
        "job": event.job,
        "source": event.source,
        "original": str(event.original),
        "originals": [str(path) for path in event.originals],
        "seconds": round(event.seconds, 2),
    }
    if event.kind == "refused":
        return known | {"note": f"{event.path}{notes.SUFFIX}", "reason": event.reason}
    return known | {
        "sidecar": str(event.path),
        "files": [str(path) for path in event.files],
        "pages": event.pages,
        "status": event.status,
        "verdicts": dict(event.verdicts),
    }


def variables(known: Facts) -> dict[str, str]:
    """Return what a program finds in its environment: each single fact, `sidecar` as OCRD_SIDECAR."""
    single = {key: value for key, value in known.items() if value and isinstance(value, str | int | float)}
    return {f"OCRD_{key.upper()}": str(value) for key, value in single.items()}


def checked(known: Facts) -> Facts:
    """Return facts that were written down, if those are there that all have. Raises KeyError, TypeError."""
    if not all(isinstance(known[key], str) for key in ("event", "job", "source")):
        raise TypeError("a name is no text")
    return known


def read(path: Path) -> Any:  # noqa: ANN401 - whatever it holds
    """Read what was written down in a file of ours. Raises NotRegularError, and one of `DAMAGE`."""
    with regular(path) as held:
        return json.loads(held.read_bytes())
