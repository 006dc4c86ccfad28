"""A finished result goes to the outbox: the delivery."""

from collections.abc import Callable
from pathlib import Path

from ocrd import fsio


def sidecar_name(source: str) -> str:
    """Name the sidecar of a source: `a/scan.pdf` becomes `a/scan.md` (paths relative to inbox and outbox)."""
    return str(Path(source).with_suffix(".md"))


def publish(  # noqa: PLR0913 - what, where, and the memory of the name
    result: bytes, outbox: Path, wanted: str, *, tag: str, recorded: str | None, record: Callable[[str], None]
) -> Path:
    """Write a result into the outbox, whole, under a free name that `record` has made durable first.

    Called again after a crash with the `recorded` name, it finds its own bytes there, or publishes them. Returns where
    they lie. Raises MachineError.
    """
    return fsio.place(
        outbox,
        wanted,
        lambda path: fsio.write_new(path, result, tag=tag),
        is_ours=lambda path: fsio.holds(path, result),
        recorded=recorded,
        record=record,
    )
