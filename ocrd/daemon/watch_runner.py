"""One watch at work: from the moment when it takes its folders until it gives them free."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from ocrd.config.schema import Config
from ocrd.config.watch import Watch
from ocrd.daemon.admission import Admission
from ocrd.daemon.compartment import Compartment
from ocrd.daemon.hooks import Hooks
from ocrd.daemon.job_queue import JobQueue
from ocrd.errors import MachineError, SpoolError
from ocrd.intake.inbox import PageCounter
from ocrd.pipeline import ledger_upkeep
from ocrd.pipeline.document import Progress, Tools
from ocrd.storage.durable import close_to_others, make_folders, one_mount
from ocrd.storage.job import Job
from ocrd.storage.ledger import UnusableError
from ocrd.storage.naming import access_of
from ocrd.storage.roles import Roles
from ocrd.telemetry.events import Ended, Events, WatchRemoved

_OPEN = "open"
"""Stands for the step where a fault was not met by one on a disk, but by a defect of ours."""
_LEDGER_SECONDS = 60.0
"""Between two looks whether the ledger is whole."""


class WatchRunner:
    """One watch at work, in a compartment of its own.

    It begins, changes and ends by itself, so that a reload can add, change and remove watches while others work on.
    """

    def __init__(  # noqa: PLR0913 - one watch, and who is told of it
        self,
        watch: Watch,
        config: Config,
        events: Events,
        roles: Roles,
        *,
        progress: Progress | None = None,
        idle: Callable[[], None] = lambda: None,
        once: bool = False,
    ) -> None:
        """Take the settings, who hears what happens, and whose each folder is, of all watches.

        `idle` is called whenever there may be nothing left to do.
        """
        self.its = Compartment(watch, events, roles, once=once)
        self.hooks = Hooks(self.its, idle)
        self.jobs = JobQueue(self.its, progress or Progress(), self.hooks.announce, self._tell, self._look_whether_idle)
        self.admission = Admission(self.its, config, self.jobs, self._change, idle)
        self.locked_out: SpoolError | None = None
        """Why the work folder can't be taken, if that is since another process has it."""
        self.may_wait = asyncio.Event()
        """Set once the daemon goes on although some work folders are taken: those of its other watches are its own."""
        self.gone = asyncio.Event()
        """Set when the work folder is free again."""
        self.task: asyncio.Task[None] | None = None
        """That which runs it."""
        self._idle = idle
        self._next: tuple[Watch, Config] | None = None
        self._leaving = False
        self._job_left = asyncio.Event()

    @property
    def watch(self) -> Watch:
        """The settings in force."""
        return self.its.watch

    @property
    def busy(self) -> bool:
        """Whether something is, or may be, left to do."""
        return self.admission.busy or self.jobs.in_work > 0 or self.hooks.busy

    async def run(
        self,
        group: asyncio.TaskGroup,
        count_pages: PageCounter,
        tools: Callable[[], Awaitable[Tools]],
        before: Iterable["WatchRunner"] = (),
    ) -> None:
        """Look after the watch until it is to leave, and all that was claimed has come to its end.

        It begins once those `before` it have left its work folder. Its jobs run as tasks of the group, as soon as there
        are tools.
        """
        for other in before:
            await other.gone.wait()
        if await self._opened():
            await self._look_after(group, count_pages, tools)
            await self.hooks.leave()
        self.its.roles.forget(self.its)
        await self.release()
        self.gone.set()

    async def _look_after(
        self, group: asyncio.TaskGroup, count_pages: PageCounter, tools: Callable[[], Awaitable[Tools]]
    ) -> None:
        """Take in what comes, until the watch is to leave, and bring to its end what is in work."""
        beside = [group.create_task(self._work(group, tools)), group.create_task(self._keep_ledger())]
        try:
            admission = self.admission
            await asyncio.gather(admission.look_out(), admission.examine(count_pages), admission.admit())
            self.its.roles.forget(self.its)  # once more: a look that was under way when it was to leave noted them
            while self.jobs.in_work:
                self._job_left.clear()
                await self._job_left.wait()
        finally:
            for task in beside:
                task.cancel()

    def change(self, watch: Watch, config: Config) -> None:
        """Go over to other settings, once their folders are there. Jobs in work end by the old ones."""
        if watch.name != self.watch.name:
            self.its.rename(watch.name)
        self._next = (watch, config)
        self.admission.wake.set()

    def leave(self) -> None:
        """Claim nothing more, and end when all that was claimed has come to its end."""
        self.its.events.tell(WatchRemoved(self.watch.name))
        self._leaving = True
        self.its.roles.forget(self.its)
        self.admission.close()
        self.its.pause.let_all_go()

    async def release(self) -> None:
        """Give the folders free."""
        await self.its.on_disk(self._release)

    def abandon(self) -> None:
        """Wait no longer for what hangs: the process is about to end."""
        self.its.threads.abandon()
        self.hooks.abandon()

    async def _work(self, group: asyncio.TaskGroup, tools: Callable[[], Awaitable[Tools]]) -> None:
        await self.jobs.run(group, await tools())

    async def _opened(self) -> bool:
        """Take the folders, as soon as that can be done, and queue what the last run left in work.

        Returns False if the watch is to leave before.
        """
        while not self._leaving:
            try:
                with self.its.own_defects():
                    left = await self.its.on_disk(self._take_folders)
                    await self.hooks.resume()
            except MachineError as error:
                self.locked_out = error if isinstance(error, SpoolError) else None
                if self.locked_out and not self.its.once:
                    self.its.known.set()
                    await self.may_wait.wait()
                await self.its.pause.turn(self.its.failed(error, _OPEN))
                continue
            self.its.pause.succeeded(_OPEN)
            self.locked_out = None
            for job in left:
                self.jobs.add(job, recovered=True)
            if left:
                self.its.log.info("recovered", jobs=len(left))
            return True
        return False

    def _take_folders(self) -> list[Job]:
        watch, spool = self.watch, self.its.spool
        self._prepare(watch)
        spool.open(watch.outbox, watch.archive, watch.error)
        if not one_mount(watch.work_folder, watch.inbox):
            self.its.log.warning("inbox and work lie on different mounts: claims copy instead of renaming")
        return list(spool.recover())

    def _prepare(self, watch: Watch) -> None:
        """See to it that there is all that a watch needs. Raises MachineError."""
        access = access_of(watch)
        for folder in watch.folders.values():
            make_folders(folder)
        close_to_others(watch.work_folder, access)
        self.its.roles.look_up(self.its, watch)

    async def _change(self) -> None:
        """Go over to the settings that a reload brought, if it brought any. Raises MachineError."""
        if change := self._next:
            watch, config = change
            await self.its.on_disk(self._prepare, watch)
            await self.its.on_disk(self.its.spool.remember_mounts, watch.outbox, watch.archive, watch.error)
            if self._next is change:
                self._next = None
            self.its.watch = watch
            self.admission.configured(config)

    async def _keep_ledger(self) -> None:
        """See to it that the ledger is whole and written, also after a fault that it had. Never returns."""
        while True:
            wanted = self.watch.history or self.watch.duplicates != "process"
            if wanted and not self.its.spool.ledger.at_rest:
                try:
                    await ledger_upkeep.make_whole(self.its.spool, self.watch.outbox, self.its.on_disk)
                except UnusableError:
                    pass  # logged where it was found
                except MachineError as error:  # it holds up nobody but who waits for it, and they tell
                    self.its.log.warning("the ledger can't be made whole now", reason=error.what, remedy=error.remedy)
                except Exception:  # a defect of ours in what is a convenience
                    self.its.log.exception("defect")
            await asyncio.sleep(_LEDGER_SECONDS)

    def _tell(self, event: Ended) -> None:
        self.its.events.tell(event)
        self.hooks.run(event)

    def _look_whether_idle(self) -> None:
        self._job_left.set()
        self.admission.job_left()
        self._idle()

    def _release(self) -> None:
        self.admission.inbox.close()
        self.its.spool.close()
