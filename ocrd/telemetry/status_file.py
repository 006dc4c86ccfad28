"""The file of the status: written by the daemon while things change, and read back by `ocrd status`.

It lies in the runtime folder of the service or of the user, so that it costs no disk and can't be held up by a share;
it is named for the configuration file.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ocrd.concurrency import processes
from ocrd.storage.safe_paths import NotRegularError, is_own_folder, regular, runtime_folder
from ocrd.storage.scratch import write_scratch
from ocrd.telemetry.status import Status

STALE = 15.0
"""Seconds after which a status shows that its daemon hangs: it is written at least every third of them."""


def place(config: Path) -> Path:
    """Return where a daemon with this configuration file writes its status. Raises OSError if there is no place."""
    return runtime_folder() / _name(config)


def write(path: Path, data: bytes) -> None:
    """Put a status at its place; it needn't outlive a power cut. Raises MachineError."""
    write_scratch(path, data)


def read(config: Path) -> Status | None:
    """Find the last status of a daemon with this configuration file, whether it still runs or not."""
    found = [status for path in _places(config) if (status := _read(path))]
    return max(found, key=lambda status: status.written, default=None)


def judged(status: Status, now: float) -> Status:
    """Set the state right if the daemon can no longer do that itself: `dead` or `hung`; `now` since the epoch."""
    if status.state not in ("stopped", "failed", "down"):
        if processes.started(status.pid) != status.started:
            status.state = "dead"
        elif now - status.written > STALE:
            status.state = "hung"
    return status


def _name(config: Path) -> str:
    return hashlib.sha256(os.fsencode(config.resolve())).hexdigest()[:16] + ".status.json"


def _places(config: Path) -> Iterator[Path]:
    """List where it may lie: that of a service, of an instance of it, and of one's own daemons."""
    folders = [Path("/run/ocrd"), *Path("/run").glob("ocrd-*")]
    with suppress(OSError):
        own = runtime_folder()
        if is_own_folder(own):  # else anyone may have put a file there
            folders.append(own)
    for folder in folders:
        yield folder / _name(config)


def _read(path: Path) -> Status | None:
    try:
        with regular(path) as held:
            return Status.parse(held.read_bytes())
    except (OSError, NotRegularError, ValueError, KeyError, TypeError):
        return None
