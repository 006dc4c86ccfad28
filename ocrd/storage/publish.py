"""A finished result goes to the outbox: the delivery."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ocrd.model import DEFAULT_ACCESS, Access
from ocrd.output import kinds, split
from ocrd.output.kinds import TextKind
from ocrd.storage import naming, os_errors
from ocrd.storage.result import Piece, Result


def publish(  # noqa: PLR0913 - what, where, and the memory of the name
    result: Result,
    outbox: Path,
    stem: str,
    *,
    tag: str,
    recorded: str | None,
    record: Callable[[str], None],
    access: Access = DEFAULT_ACCESS,
    own_stem: bool = True,
) -> Path:
    """Put a finished result into the outbox under this stem, or the next that is free for all its files.

    With `own_stem`, no text of another document may have it, of whatever kind.

    The name of the last file, on which readers may wait, is made durable by `record` before any is put there. Called
    again after a crash with the `recorded` name, it finds what it put there, and puts the rest. A stem of which a
    stranger takes a part meanwhile is left again without a trace. Returns where the last file lies. Raises
    MachineError.
    """
    pieces = result.pieces
    last = pieces[-1].ending

    def put(path: Path) -> None:
        before = recorded is not None and path.name == Path(recorded).name
        _put_all(pieces, path.with_name(path.name.removesuffix(last)), tag, before=before)

    return naming.place(
        outbox,
        stem + last,
        put,
        is_ours=lambda _: False,  # what is ours was found by `put`
        recorded=recorded,
        record=record,
        beside=[piece.ending for piece in pieces],
        apart=_texts(pieces) if own_stem else (),
        ending=last,
        access=access,
    )


def _put_all(pieces: tuple[Piece, ...], stem: Path, tag: str, *, before: bool) -> None:
    """Put all or none; those that lie there are ours only if they may have been put there `before`."""
    for number, piece in enumerate(pieces):
        target = stem.with_name(stem.name + piece.ending)
        try:
            piece.put(target, tag)
        except FileExistsError:
            with os_errors.machine_faults("read", target):
                if before and piece.lies_at(target):
                    continue
            for ours in reversed(pieces[:number]):
                ours.withdraw(stem.with_name(stem.name + ours.ending))
            raise


def _texts(pieces: Sequence[Piece]) -> list[str]:
    """List the endings of all texts that another document with the same stem and parts may have.

    With these free no two documents have one stem, and what lies beside a sidecar is of the same document. PDFs don't
    count: where outbox and archive are one folder, the original has the same name.
    """
    parts = {split.part_and_suffix(piece.ending)[0] for piece in pieces}
    texts = [kind.ending for kind in kinds.ALL if isinstance(kind, TextKind)]
    return sorted(f"-{part}{ending}" if part else ending for part in parts for ending in texts)
