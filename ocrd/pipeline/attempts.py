"""How often a source may be begun: what a death in the middle costs it, and what is given back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ocrd.errors import DocumentError, EngineError, MachineError
from ocrd.pipeline.document import Interrupted, Tools
from ocrd.storage.job import Job
from ocrd.storage.os_errors import stray_faults


@asynccontextmanager
async def charged(job: Job, tools: Tools) -> AsyncIterator[None]:
    """Charge the attempt while the work inside lasts; what the source is not to blame for is refunded."""
    await tools.on_disk(job.charge)
    try:
        with stray_faults("read", job.source):  # what a library lets through is never the document's fault
            yield
    except (asyncio.CancelledError, EngineError, MachineError, Interrupted):
        with suppress(MachineError):  # then it stays charged, which the next refund or the limit will show
            await tools.on_disk(job.refund)
        raise


def earlier_attempts(job: Job, tools: Tools) -> int:
    """Count the deaths while this job was read. Raises DocumentError if these were enough."""
    earlier = job.record.attempts - 1
    if earlier >= tools.max_attempts:
        raise DocumentError(
            f"ocrd died {earlier} times while it read this file, and nobody could say why.",
            "Print it to a new PDF, or scan it again; the log of those times may tell more.",
        )
    return earlier
