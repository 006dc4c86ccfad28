"""Memory that the daemon shares with its workers, in slots of one size: a page image comes back without a copy.

The memory belongs to no file system (memfd_create(2)), so no limit of /dev/shm concerns it, and it goes with the last
process that has it. The daemon sizes it, since workers may not make anything grow; they write into it by mmap(2).
"""

import asyncio
import mmap
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

REST = 10.0
"""Seconds for which a slot lies fallow whose writer was killed, or is about to be: it may still be writing."""


class Slots:
    """All of the memory. For one event loop; a worker has it as `shared`."""

    def __init__(self, most: int) -> None:
        """Plan for at most so many bytes in all. Nothing is taken before the first slot."""
        self._most = most
        self._fd = os.memfd_create("ocrd page images")
        self._memory: mmap.mmap | None = None
        self._free: list[int] = []
        self._waiting: deque[asyncio.Future[int]] = deque()
        self.room = 0
        """Bytes in each slot; 0 before the first one."""

    @property
    def shared(self) -> "Shared":
        """The memory as a worker has it, but for the number of the file."""
        return Shared(self._fd)

    async def take(self, room: int) -> "Slot":
        """Wait for a slot. All callers must ask for the same room, bytes."""
        if self._memory is None:
            self._open(room)
        if not self._free or self._waiting:
            call = asyncio.get_running_loop().create_future()
            self._waiting.append(call)
            try:
                return Slot(self, await call)
            except asyncio.CancelledError:
                if call.done() and not call.cancelled():
                    self.give_back(call.result())
                raise
        return Slot(self, self._free.pop())

    def give_back(self, offset: int) -> None:
        """Take a slot back; the last one used is the first to be used again, so a quiet daemon touches few.

        With the last of all the memory goes back to the system.
        """
        while self._waiting:
            call = self._waiting.popleft()
            if not call.done():
                call.set_result(offset)
                return
        self._free.append(offset)
        if self._memory is not None and len(self._free) * self.room == len(self._memory):
            with suppress(OSError):  # a kernel that can't (madvise(2), MADV_REMOVE)
                self._memory.madvise(mmap.MADV_REMOVE)

    def view(self, offset: int, length: int) -> memoryview:
        """Show the first bytes of a slot."""
        if self._memory is None:
            raise AssertionError(offset)
        return memoryview(self._memory)[offset : offset + length]

    def close(self) -> None:
        """Take no new slots. The memory itself goes when nobody looks at it any more."""
        os.close(self._fd)

    def _open(self, room: int) -> None:
        self.room = -(-room // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        count = max(1, self._most // self.room)
        os.ftruncate(self._fd, count * self.room)
        self._memory = mmap.mmap(self._fd, count * self.room)
        self._free = [number * self.room for number in reversed(range(count))]


class Slot:
    """One slot, from `Slots.take` until it is freed."""

    def __init__(self, slots: Slots, offset: int) -> None:
        self._slots = slots
        self._held = True
        self.offset = offset
        """Where it begins in the shared memory, bytes."""

    def view(self, length: int) -> memoryview:
        """Show its first bytes."""
        return self._slots.view(self.offset, length)

    def free(self) -> None:
        """Give it back; a second call does nothing."""
        if self._held:
            self._held = False
            self._slots.give_back(self.offset)

    def free_later(self) -> None:
        """Give it back once nobody can be writing into it any more."""
        asyncio.get_running_loop().call_later(REST, self.free)


@dataclass(frozen=True)
class Shared:
    """The memory as a worker has it."""

    fd: int
    """Open file descriptor."""

    def window(self, offset: int, room: int) -> mmap.mmap:
        """Map one slot, to be written into and closed."""
        return mmap.mmap(self.fd, room, offset=offset)
