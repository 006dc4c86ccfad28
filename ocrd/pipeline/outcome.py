"""How a job ends: the record that log, status, metrics and hooks are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocrd.model import Document


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    kind: str
    """`delivered`, `refused`, `returned` (put back into the inbox, since it changed), `skipped` (a duplicate); of a
    rerun `reread`, or `not reread`."""
    path: Path
    """Where the sidecar lies; for refused, returned and skipped ones, where the source lies now."""
    original: Path | None
    """Where the source lies now; None if it was not found."""
    document: Document | None = None
    """What was read, unless that was done before a restart."""
    reason: str = ""
    """Why it was refused."""
    files: tuple[Path, ...] = ()
    """All that was delivered: the files of each part, and the folder of pictures."""
    originals: tuple[Path, ...] = ()
    """Every file of the source, its companion included, where it lies now."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the ledger is told of a delivery, such as `pages` and `status`."""
