"""Keeps an engine resident: builds it, buries it when it dies, and finds the page that killed it.

Knows nothing of vLLM: the engine proper is a `Core`, and whatever builds one is passed in.

When a core dies, any of the pages then in it may be the killer. Each of them is read again, beside fewer others: at
most a sixteenth as many pages at once as died together. While nothing more happens their number doubles with every such
group that is read, since most deaths are the machine's. If another core dies, again a sixteenth, and from then on no
doubling, until a page dies alone. A page that dies alone, and had been in a death before, is refused, provided that a
rebuilt engine can still read the test page. So of 256 pages with one killer the engine is rebuilt three or four times,
every other page is read, and a fault of the machine is never put down to a page.
"""

import asyncio
import contextlib
import itertools
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ocrd.errors import ConfigError, EngineError, PageError
from ocrd.model import DEFAULT_APPROACH, Approach, PageImage, Reading

log = logging.getLogger(__name__)

PARTS = 16
"""Into how many groups the pages of a death are parted. Two would need eight deaths to find one page of 256, and a
rebuild takes a minute or two on a GPU; reading one at a time would leave the card nearly idle for half an hour."""

SETBACKS = 7
"""Deaths and failed rebuilds in a row, without one page read between, after which the engine is given up."""

WEIGH_EVERY = 10.0
"""Seconds between two looks at the engine's size."""

LONGEST_WAIT = 60.0
"""Longest wait before a rebuild, seconds."""


class CoreDied(Exception):  # noqa: N818 - it is what happened, not an error of the program
    """The core is gone, and every page in it. Its text says why, as far as that is known."""


class Core(Protocol):
    """One life of an engine. Its methods belong to one event loop and don't block it."""

    @property
    def alive(self) -> bool:
        """Whether it still takes pages, as far as is known."""
        ...

    @property
    def last_sign(self) -> float:
        """When it last gave a sign of life, in the loop's time, seconds."""
        ...

    async def read(self, page: PageImage, priority: int, approach: Approach) -> Reading:
        """Read one page, and free its image as soon as the core has it. Cancelling gives the page up.

        Raises CoreDied, or PageError where only this page is at fault.
        """
        ...

    async def sleep(self) -> None:
        """Free the device's memory, but stay quick to wake. Raises CoreDied."""
        ...

    async def wake(self) -> None:
        """Undo `sleep`. Raises CoreDied."""
        ...

    def kill(self) -> None:
        """End it at once, so that every page in it raises CoreDied."""
        ...

    async def close(self) -> None:
        """Free all that it holds, also after its death. Doesn't raise."""
        ...


@dataclass(eq=False)
class _Visit:
    """One page on its way through the supervisor."""

    page: PageImage
    priority: int
    approach: Approach
    order: int
    gate: asyncio.Future[None]
    room: float = math.inf
    """The most pages, itself included, that may be inside together with it."""
    deaths: int = 0
    """How many cores died with it inside."""
    died_alone: bool = False
    core: Core | None = None
    """The core that is reading it now."""
    fresh: bool = True
    """Whether the page's image is still there."""

    async def image(self) -> PageImage:
        """Return the page with its image, rendered once more if need be."""
        if not self.fresh and self.page.again:
            self.page, self.fresh = await self.page.again(), True
        return self.page

    def put_away(self) -> None:
        """Free the image, of which only so many can be at a time, if there is a way to have it again."""
        if self.page.again:
            self.page.free()
            self.fresh = False


@dataclass(frozen=True)
class Rest:
    """When to free the device."""

    after: float
    """Quiet time, seconds."""
    how: Literal["keep", "sleep", "unload"]


@dataclass
class CoreSupervisor:
    """Reads pages through one core after another."""

    build: Callable[[], Awaitable[Core]]
    """Makes a core that has read a test page. Raises ConfigError or EngineError."""
    hang_after: float
    """Seconds without a sign of life, with pages inside, that count as death."""
    rest: Rest = Rest(math.inf, "keep")
    worn: Callable[[], bool] = lambda: False
    """Whether the core has grown so large that it should be built anew; asked now and then."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Waits before a rebuild; tests pass their own."""
    name: str = "the engine"
    """What it is called in the log."""

    restarts: int = field(default=0, init=False)
    """Cores built because the one before had died."""
    _core: Core | None = field(default=None, init=False)
    _asleep: bool = field(default=False, init=False)
    _weighed: float = field(default=-math.inf, init=False)
    _retiring: bool = field(default=False, init=False)
    """The core is worn: nobody goes in any more, and when the last page is out it is ended."""
    _worn_out: bool = field(default=False, init=False)
    """The core was ended because it was worn, and did not die."""
    _end: EngineError | ConfigError | None = field(default=None, init=False)
    _setbacks: int = field(default=0, init=False)
    _cleared: int = field(default=0, init=False)
    """Suspects read since their company last changed."""
    _orders: "itertools.count[int]" = field(default_factory=itertools.count, init=False)
    _waiting: list[_Visit] = field(default_factory=list, init=False)
    _inside: set[_Visit] = field(default_factory=set, init=False)
    _work_since: float = field(default=0.0, init=False)
    _change: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """Held while the core is built, woken, put to rest or closed."""
    _raising: "asyncio.Task[Core] | None" = field(default=None, init=False)
    _watching: "asyncio.Task[None] | None" = field(default=None, init=False)
    _resting: "asyncio.Task[None] | None" = field(default=None, init=False)
    _rest_timer: asyncio.TimerHandle | None = field(default=None, init=False)

    @property
    def core(self) -> Core | None:
        """The core of the moment; it may be dead already."""
        return self._core

    @property
    def doing(self) -> str:
        """`ready`, `loading` or `resting`, as `EngineState` has it."""
        if self._raising is not None:
            return "loading"
        return "resting" if self._asleep or self._core is None else "ready"

    async def start(self) -> None:
        """Build the first core. One try: what fails at the start is told at once."""
        async with self._change:
            await self._take(await self.build())
        self._plan_rest()

    async def read(self, page: PageImage, priority: int, approach: Approach = DEFAULT_APPROACH) -> Reading:
        """Read one page, through as many cores as it takes."""
        gate = asyncio.get_running_loop().create_future()
        visit = _Visit(page, priority, approach, next(self._orders), gate)
        while True:
            await self._enter(visit)
            try:
                return await self._attempt(visit)
            except CoreDied as death:
                log.debug("page %d was in a core that died: %s", page.index, death)
            finally:
                self._leave(visit)
            if visit.died_alone and visit.deaths > 1:
                await self._ready()  # the machine is well, or this raises: only then is it the page's fault
                self._setbacks = 0
                raise PageError(
                    f"Page {page.index + 1} ended the engine each of the {visit.deaths} times it was read.",
                    "Look at this page of the original, and scan it again if it looks damaged.",
                )

    async def close(self) -> None:
        """End the core and give up the pages inside."""
        self._end = self._end or EngineError("The engine is closed.", "Start ocrd again to read more pages.")
        if self._rest_timer:
            self._rest_timer.cancel()
        for task in (self._raising, self._watching, self._resting):
            if task:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConfigError, EngineError):
                    await task
        for visit in [*self._waiting, *self._inside]:
            if not visit.gate.done():
                visit.gate.set_exception(self._end)
        self._waiting.clear()
        async with self._change:
            await self._drop()

    # -- who is inside ------------------------------------------------------------------------------------------

    async def _enter(self, visit: _Visit) -> None:
        if self._end:
            raise self._end
        if self._rest_timer:
            self._rest_timer.cancel()
        visit.gate = asyncio.get_running_loop().create_future()
        self._waiting.append(visit)
        self._let_in()
        if not visit.gate.done():  # those inside may need the room for theirs
            visit.put_away()
        try:
            await visit.gate
        except asyncio.CancelledError:
            self._leave(visit)
            raise

    def _let_in(self) -> None:
        """Suspects first, those with the least company first; a page joins only where nobody has too much company."""
        for visit in sorted(self._waiting, key=lambda one: (one.room, one.priority, one.order)):
            if self._retiring:
                break
            if len(self._inside) >= min(one.room for one in (*self._inside, visit)):
                break
            self._waiting.remove(visit)
            self._inside.add(visit)
            if not visit.gate.done():
                visit.gate.set_result(None)

    def _leave(self, visit: _Visit) -> None:
        visit.core = None
        self._inside.discard(visit)
        if visit in self._waiting:
            self._waiting.remove(visit)
        self._retire_if_worn()
        if not self._end:
            self._let_in()
        if not self._inside:
            self._plan_rest()

    def _retire_if_worn(self) -> None:
        """End a core that has grown too large, once the pages inside are read; the next page builds another."""
        now = asyncio.get_running_loop().time()
        if now - self._weighed >= WEIGH_EVERY and self._core and self._core.alive and not self._asleep:
            self._weighed = now
            if self.worn() and not self._retiring:
                log.warning("%s has grown too large, and is built anew once the pages in it are read", self.name)
                self._retiring = True
        if self._retiring and not self._inside:
            self._retiring = False
            self._worn_out = True
            if self._core:
                self._core.kill()

    async def _attempt(self, visit: _Visit) -> Reading:
        page = await visit.image()
        core = await self._ready()
        if not any(other.core for other in self._inside):
            self._work_since = asyncio.get_running_loop().time()
        visit.core = core
        try:
            reading = await core.read(page, visit.priority, visit.approach)
        except CoreDied as death:
            self._handle_death(core, death)
            if self._end:
                raise self._end from None
            raise
        finally:
            visit.put_away()
        self._setbacks = 0
        self._trust(visit)
        return reading

    def _trust(self, read: _Visit) -> None:
        """Let the suspects of one death have twice the company, once as many of them were read as may be together."""
        if read.deaths != 1:
            return
        self._cleared += 1
        if self._cleared < read.room:
            return
        self._cleared = 0
        for suspect in (*self._waiting, *self._inside):
            if suspect.deaths == 1:
                suspect.room *= 2

    def _handle_death(self, core: Core, death: CoreDied) -> None:
        """Charge a death to the pages that were in it, once, and give each of them less died_together from now on."""
        if core is self._core:  # else another runs by now, and what ends the engine would end that one
            core.kill()  # whatever is left of it
        self._cleared = 0
        died_together = [visit for visit in self._inside if visit.core is core]
        for visit in died_together:
            visit.core = None
            visit.deaths += 1
            visit.died_alone = len(died_together) == 1
            visit.room = max(1, math.ceil(len(died_together) / PARTS))
        if core is self._core and died_together:
            self._setbacks += 1
            log.error(
                "%s died with %d pages in it, each of which is read again: %s", self.name, len(died_together), death
            )

    # -- the core's lives ---------------------------------------------------------------------------------------

    async def _ready(self) -> Core:
        """Return a core that is awake, building or waking it if need be."""
        if self._end:
            raise self._end
        if self._core and self._core.alive and not self._asleep and not self._change.locked():
            return self._core
        if self._raising is None:
            self._raising = asyncio.create_task(self._raise())
            self._raising.add_done_callback(_retrieved)
        try:
            # Shielded: the page that happened to come first may be given up, the others still need the core.
            return await asyncio.shield(self._raising)
        except asyncio.CancelledError:
            if self._end and self._raising is None:  # it was closed; nobody cancelled this page
                raise self._end from None
            raise

    async def _raise(self) -> Core:
        try:
            async with self._change:
                return await self._revive()
        finally:
            self._raising = None

    async def _revive(self) -> Core:
        if self._core and self._asleep and self._core.alive:
            with contextlib.suppress(CoreDied):
                await self._core.wake()
                self._asleep = False
        if self._core and self._core.alive and not self._asleep:
            return self._core
        died = self._core is not None and not self._worn_out
        self._worn_out = False
        await self._drop()
        while True:
            if self._setbacks >= SETBACKS:
                self._end = EngineError(
                    f"The engine died or failed to start {self._setbacks} times in a row, without reading a page.",
                    "See the engine's messages above for the cause; ocrd starts again by itself.",
                )
                raise self._end
            if self._setbacks > 1:  # the first rebuild is at once: one death may be chance
                await self.pause(min(LONGEST_WAIT, 2.0 ** (self._setbacks - 2)))
            try:
                core = await self._take(await self.build())
            except EngineError as error:
                self._setbacks += 1
                log.warning("%s did not start: %s", self.name, error)
            else:
                self.restarts += died
                return core

    async def _take(self, core: Core) -> Core:
        self._core, self._asleep = core, False
        self._watching = asyncio.create_task(self._watch(core))
        return core

    async def _drop(self) -> None:
        if self._watching:
            self._watching.cancel()
        core, self._core, self._asleep = self._core, None, False
        if core:
            await core.close()

    async def _watch(self, core: Core) -> None:
        """Kill a core that has pages inside and gives no sign of life."""
        loop = asyncio.get_running_loop()
        while core.alive:
            reading = any(visit.core is core for visit in self._inside)
            silent_since = max(core.last_sign, self._work_since) if reading else loop.time()
            left = silent_since + self.hang_after - loop.time()
            if left <= 0:
                log.error(
                    "%s gave no token for %.0f seconds with pages in it, and is killed", self.name, self.hang_after
                )
                core.kill()
                return
            await asyncio.sleep(left)

    # -- rest ---------------------------------------------------------------------------------------------------

    def _plan_rest(self) -> None:
        if self.rest.how == "keep" or self._end or self._asleep or not self._core:
            return
        if self._rest_timer:
            self._rest_timer.cancel()
        self._rest_timer = asyncio.get_running_loop().call_later(self.rest.after, self._begin_rest)

    def _begin_rest(self) -> None:
        self._resting = asyncio.create_task(self._go_idle())
        self._resting.add_done_callback(_retrieved)

    async def _go_idle(self) -> None:
        async with self._change:
            if self._inside or self._waiting or not self._core or self._asleep:
                return
            log.info("no page for %.0f seconds: %s is to %s", self.rest.after, self.name, self.rest.how)
            if self.rest.how == "sleep" and self._core.alive:
                self._asleep = True
                with contextlib.suppress(CoreDied):
                    await self._core.sleep()
                    return
            await self._drop()


def _retrieved(task: "asyncio.Task[object]") -> None:
    """Take note of a task's exception, which its waiters have seen, or nobody wants any more."""
    if not task.cancelled():
        task.exception()
