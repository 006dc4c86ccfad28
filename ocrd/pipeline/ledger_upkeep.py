"""A watch's ledger, asked by jobs, and made whole beside them in small steps."""

from pathlib import Path

from ocrd.concurrency.threads import OnDisk
from ocrd.config.watch import Watch
from ocrd.storage import ownership
from ocrd.storage.ledger import Entry, Ledger, NotKnownYetError, UnusableError
from ocrd.storage.spool import Spool


async def make_whole(spool: Spool, outbox: Path, on_disk: OnDisk) -> None:
    """Rebuild a lost ledger from the sidecars; of several callers one does it, the others wait.

    Raises UnusableError, MachineError.
    """
    async with spool.rebuilding:
        while not await on_disk(spool.ledger.rebuild_some, outbox, spool.check_mount):
            pass


async def earlier(spool: Spool, watch: Watch, sha256: str, on_disk: OnDisk) -> Entry | None:
    """Find the last delivery of the same content, once that can be known; None also where the ledger can't be used.

    What it does not know another daemon of the same watch may have delivered. Raises MachineError where it is being
    rebuilt and the outbox can't be looked into.
    """
    return await _own(spool, watch.outbox, sha256, on_disk) or await on_disk(_of_others, watch, sha256)


async def _own(spool: Spool, outbox: Path, sha256: str, on_disk: OnDisk) -> Entry | None:
    try:
        while True:
            try:
                return await on_disk(spool.ledger.earlier, sha256)
            except NotKnownYetError:
                await make_whole(spool, outbox, on_disk)
    except UnusableError:
        return None


def _of_others(watch: Watch, sha256: str) -> Entry | None:
    told = (Ledger(work).told(sha256) for work in ownership.beside(watch))
    return next(filter(None, told), None)
