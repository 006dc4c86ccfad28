"""Job folders: one claimed source each, with all that is known of it. `ls work/` is the queue.

    work/<id>/job.json        what the source was called, attempts, the names chosen for what goes out
    work/<id>/source.pdf      the source itself, from the claim until it is archived or refused
    work/<id>/source/         or, of a group, its files
    work/<id>/source.duplex/  or, of a duplex scan, first the fronts, then the backs, with a number before their names
    work/<id>/source.ocrd.yaml its companion, if it has one, which goes wherever the source goes
    work/<id>/pages/0001.json each page's result, as soon as it is there
    work/<id>/figures/        the pictures cropped from it, before that page's result
    work/<id>/result/         the files that go out: sidecar, and what is configured beside it
    work/<id>/result.json     their list, from which moment nothing is read again

A source, each file of a group, and a companion is in exactly one place at every instant. What a crash leaves, and what
the next start makes of it:

    crash after                     found                        rule
    job.json written                no source                    delete the folder; the scan finds the file in the inbox
    some files of a group moved     some of source/              give them back to the inbox, where they settle anew
    original put aside, to copy it  no source                    give the original its name in the inbox back
    CLAIMED (rename into the job)   source                       run it; an original put aside by a copy goes first
    attempt charged                 source, attempts > 0         run it after the others; at the limit, refuse it
    some pages read                 source, pages/               keep those of this source and engine, read the rest
    refusal recorded                source, refusal              go on refusing: the note, then the source
    some files of the result        no result.json               write them anew, from the pages
    RESULT (its list written)       source, result.json          never read again: publish these bytes
    name recorded                   names[…], nothing there      publish under it
    some files published            names[…], some of ours       publish the others; if a stranger took one of the
                                                                 names, withdraw ours, then record another name
    PUBLISHED (the last file)       names[…], all of ours        go on to the archive
    some files of a group archived  names[…], some of source/    move the others after them
    ARCHIVED (or in error/)         no source                    delete the folder

The capitals are the commit points: the claim, the result, the delivery, the end. The files of a result go out figures
first and Markdown last; each is whole from the instant when it is seen.

What no crash leaves, but a bad disk or a hand can: a record that is damaged, or a source that is not called as its
record says. Such a source is refused under the name of its job's folder. A stranger's file in a job's folder stays
there, and the folder with it, when the job ends.

A rerun is a job without a source of its own: its original stays where it was archived. It is asked for by a file
`rerun-<id>.json` beside the job folders, put there whole by another process, since the folder's lock is the daemon's;
the daemon makes it a job (job.json), and then deletes the request. reread.py tells how it goes on.

Jobs of a daemon that is gone come in the same way, as folders `adopted-<id>` (adoption.py). A rename makes each a job
folder like any other, and what a crash left of it is gone through as at the start.
"""

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from ocrd import display
from ocrd.config import overrides
from ocrd.errors import DocumentError, MachineError, OcrdError
from ocrd.model import COMPANION, DEFAULT_ACCESS, Access, FileStamp, Settled
from ocrd.storage import (
    claiming,
    comparing,
    durable,
    file_group,
    job_folders,
    locks,
    naming,
    notes,
    os_errors,
    ownership,
    renames,
    rerun_requests,
)
from ocrd.storage.job import Job, JobRecord, refusal_of
from ocrd.storage.job_folders import ADOPTED, JOB_ID
from ocrd.storage.ledger import Ledger
from ocrd.storage.mounts import mount_point
from ocrd.storage.safe_paths import NotRegularError, beneath, lies_at, regular, spelled

log = structlog.get_logger("ocrd")

_JOB = re.compile(JOB_ID)
_REQUEST = re.compile(rf"rerun-{JOB_ID}\.json")
_ADOPTED = re.compile(f"{ADOPTED}{JOB_ID}")


class Spool:
    """The work folder of one watch."""

    def __init__(self, watch: str, inbox: Path, work: Path, *, among_others: bool = False) -> None:
        """Take whose it is, and whether work folders of other daemons may lie beside it."""
        self.watch = watch
        """Its name."""
        self._inbox = inbox
        self._work = work
        self._among_others = among_others
        self.ledger = Ledger(work)
        """What was delivered."""
        self.rebuilding = asyncio.Lock()
        """Held by who rebuilds the ledger."""
        self._lock: int | None = None
        self._mounts: dict[Path, Path] = {}
        self._begun: list[Job] = []
        self._uncleared: set[Path] = set()
        """Folders of jobs that are done, which could not be deleted yet."""

    def open(self, *others: Path) -> None:
        """Take the work folder for this process, and note where it, the inbox and the `others` are mounted.

        May be called again. Raises SpoolError if another process has it, MachineError.
        """
        durable.make_folders(self._work)
        if self._lock is None:
            lock = locks.lock_folder(self._work)
            try:
                if self._among_others or ownership.is_on_a_share(self._work):
                    ownership.take(self._work, self.watch)
            except BaseException:
                os.close(lock)
                raise
            self._lock = lock
        self.remember_mounts(self._inbox, self._work, *others)

    def remember_mounts(self, *folders: Path) -> None:
        """Note where folders are mounted now, for `check_mount`. Raises MachineError."""
        for folder in folders:
            with os_errors.machine_faults("reach", folder):
                self._mounts[folder] = mount_point(folder)

    def check_mount(self, folder: Path) -> None:
        """Raise MachineError if what a folder lay on when the spool was opened is not mounted any more."""
        if folder in self._mounts:
            os_errors.check_mount(folder, self._mounts[folder])

    def close(self) -> None:
        """Give the work folder free."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(MachineError):  # the share is gone: it stays recorded, as after a crash
                ownership.leave(self._work)
            with os_errors.machine_faults("give free", self._work):
                os.close(lock)

    def was_taken(self, job: Job) -> bool:
        """Whether a job's folder is gone from a work folder that is there. Raises MachineError."""
        self.check_mount(self._work)
        return os_errors.is_there(self._work) and not os_errors.is_there(job.folder)

    @property
    def begun(self) -> bool:
        """Whether a claim broke off, and what it had taken could not be given back yet."""
        return bool(self._begun)

    def claim(self, settled: Settled, refused: OcrdError | None = None) -> Job | None:
        """Take a settled source: from the rename on, of a group the last one, it is ours; to be refused, if it is.

        Returns None if it is not there any more, or not what settled: then it is left, or put back, for the next scan.
        The same if a claim had broken off before, which is undone first. Raises DocumentError if this one source can't
        be taken, MachineError if none can.
        """
        self.check_mount(self._work)
        if self._begun:
            while self._begun:
                self._undo(self._begun.pop())
            return None
        name = str(settled.path.relative_to(self._inbox))
        group = settled.group
        several = {} if settled.single else group.members
        record = JobRecord(
            self.watch,
            name,
            group.members.get(""),
            several,
            duplex=group.duplex,
            dropped={ending: str(Path(name).with_name(one)) for ending, one in group.names.items()},
            companion=group.companion,
            refusal=refusal_of(refused) if refused else None,
        )
        if any(self._stamp_in_inbox(record.dropped_as(ending)) != stamp for ending, stamp in record.stamps.items()):
            return None
        return self._claim(replace(record, settings=self._settings_for(record)))

    def _settings_for(self, record: JobRecord) -> dict[str, str | None]:
        """Read the settings of the folder that the source lies in, and its companion's. Raises MachineError."""
        first = Path(record.name + next(iter(record.stamps)))
        names = [str(first.with_name(COMPANION)), *([record.name + COMPANION] if record.companion else [])]
        return {name: self._text_of(name) for name in names if os_errors.is_there(self._inbox / name)}

    def _text_of(self, name: str) -> str | None:
        with os_errors.machine_faults("read", self._inbox / name):
            try:
                with beneath(self._inbox, name) as held, regular(held) as path, path.open("rb") as file:
                    return file.read(overrides.MOST + 1).decode(errors="surrogateescape")
            except FileNotFoundError:
                return ""  # it went away meanwhile
            except (NotRegularError, NotADirectoryError, PermissionError):
                return None

    def _stamp_in_inbox(self, name: str) -> FileStamp | None:
        with (
            os_errors.machine_faults("look at", self._inbox / name),
            suppress(FileNotFoundError, NotADirectoryError),
            beneath(self._inbox, name) as held,
        ):
            return _stamped(held)
        return None

    def _claim(self, record: JobRecord) -> Job | None:
        job = Job(job_folders.make_new(self._work), record)
        try:
            job.begin()  # the name first: a source without one could not be given back
        except MachineError:
            self._clear(job.folder)  # a full disk is tried again and again, and must not fill with folders
            raise
        try:
            with os_errors.machine_faults(f"take {display.shown(self._inbox / record.name)} into", job.folder):
                self._take_all(job)
        except renames.NotAsSeenError:
            self._undo(job)
            return None
        except (MachineError, DocumentError):
            with suppress(MachineError):  # the fault is told already
                self._undo(job)
            raise
        return job

    def _take_all(self, job: Job) -> None:
        """Move all files into their job. Raises NotAsSeenError, OSError, MachineError, DocumentError."""
        if job.record.members:
            durable.make_new_folder(job.source)
        for ending in job.record.stamps:
            self._take(job, ending)
        if not all(map(job_folders.is_regular, job.files.values())) or not job.unchanged():
            raise renames.NotAsSeenError

    def _take(self, job: Job, ending: str) -> None:
        """Move one file into its job. Raises NotAsSeenError, MachineError, DocumentError if it is not taken."""
        target = job.files[ending]
        try:
            with beneath(self._inbox, job.record.dropped_as(ending)) as held:
                try:
                    claiming.take(held, target, tag=job.id)
                except (renames.NotAsSeenError, MachineError) as error:
                    if _stamped(held) == job.record.stamps[ending] or not lies_at(target):
                        self._blame(held, target, error)
                        raise
                    claiming.finish(held, target, tag=job.id)  # moved, though the machine complained after: it is ours
        except (FileNotFoundError, NotADirectoryError):  # its folder went away, or is a link now
            raise renames.NotAsSeenError from None

    def _undo(self, job: Job) -> None:
        """Give back what a claim has taken so far. Raises MachineError; then the next claim tries that again first."""
        try:
            self._finish_claim(job)
            if job.held:
                self.give_back(job)
            elif not job_folders.clear(job.folder):
                self._uncleared.add(job.folder)
        except MachineError:
            self._begun.append(job)
            raise

    def _blame(self, held: Path, target: Path, error: Exception) -> None:
        """Tell a file that we may not take from a folder that we may not use. Raises DocumentError for the former."""
        refused = isinstance(error, MachineError) and isinstance(error.__cause__, PermissionError)
        if refused and all(os.access(folder, os.W_OK | os.X_OK) for folder in (self._inbox, target.parent)):
            raise DocumentError(
                f"{display.shown(spelled(held))} may not be taken out of its folder: permission denied.",
                f"Let the user that runs ocrd read it and write to its folder (uid {os.geteuid()}), and touch it.",
            ) from error

    def give_back(self, job: Job) -> Path:
        """Put the source of a job back into the inbox, under a free name. Returns where. Raises MachineError.

        Of a group, what was taken goes back to what was not: its folder may well be there.
        """
        if job.record.dropped:
            return self._give_back_apart(job)
        held = job.held
        beside = file_group.beside(Path(job.record.name), held)
        return self._move_out(job, "inbox", self._inbox, put=lambda path: _put(job, path, held), beside=beside)

    def _give_back_apart(self, job: Job) -> Path:
        """Put files back that had no name in common, each under its own. Returns where the first lies."""
        self.check_mount(self._inbox)
        job.name_for("inbox", job.record.name)  # from here on it is not to be run
        for ending, held in job.held.items():
            naming.place(
                self._inbox,
                job.record.dropped_as(ending),
                lambda path, ending=ending, held=held: file_group.put_all(  # type: ignore[misc]
                    {"": held}, {"": job.record.stamps[ending]}, path, tag=job.id
                ),
                is_ours=lambda _: False,
                recorded=job.record.names.get(f"inbox{ending}"),
                record=lambda name, ending=ending: job.name_for(f"inbox{ending}", name),  # type: ignore[misc]
            )
        self._clear(job.folder)
        return self._inbox / job.record.dropped_as(next(iter(job.record.members)))

    def archive(
        self,
        job: Job,
        folder: Path,
        access: Access = DEFAULT_ACCESS,
        before: Callable[[], None] | None = None,
    ) -> Path:
        """Move the source to the archive and forget the job. Returns where it lies now. Raises MachineError.

        `before` is called when its name is recorded and it has not left yet.
        """

        def put(path: Path) -> None:
            if before:
                before()
            _put(job, path)

        wanted = job.record.archived
        return self._move_out(job, "archive", folder, put=put, beside=_taken_by(job), access=access, wanted=wanted)

    def refuse(
        self,
        job: Job,
        folder: Path,
        note: bytes,
        access: Access = DEFAULT_ACCESS,
        before: Callable[[], None] | None = None,
    ) -> Path:
        """Move the source to `folder` with a note NAME.error.md beside it, and forget the job.

        The note goes first: from the move on the source is no longer ours. `before` is called as by `archive`. Returns
        where the source lies now. Raises MachineError.
        """

        def put(path: Path) -> None:
            if before:
                before()
            beside = path.with_name(path.name + notes.SUFFIX)
            try:
                durable.write_new(beside, note, tag=job.id)
            except FileExistsError:
                if not comparing.holds(beside, note):  # else ours, from before a crash
                    raise
            try:
                _put(job, path)
            except FileExistsError:
                durable.remove(beside)
                raise

        note_ending = ("" if job.record.members else Path(job.record.name).suffix) + notes.SUFFIX
        beside = [*_taken_by(job), note_ending]
        return self._move_out(job, "error", folder, put=put, beside=beside, access=access)

    def _move_out(  # noqa: PLR0913 - all that `place` wants to know
        self,
        job: Job,
        role: str,
        folder: Path,
        *,
        put: Callable[[Path], None],
        beside: Iterable[str] = (),
        access: Access = DEFAULT_ACCESS,
        wanted: str | None = None,
    ) -> Path:
        """Move the source to a free name in another folder, which is the end of the job."""
        self.check_mount(folder)
        try:
            naming.place(
                folder,
                wanted or job.record.name,
                put,
                is_ours=lambda _: False,  # what is ours was found by `put`
                recorded=job.record.names.get(role),
                record=lambda name: job.name_for(role, name),
                beside=beside,
                whole=bool(job.record.members),
                access=access,
            )
        except renames.NotAsSeenError:  # copied to another mount, while a program still had it open
            name = display.shown(job.record.name)
            raise MachineError(
                f"{name} changed while it was copied to {display.shown(folder)}.",
                "A program still writes to it: end it, or wait until it has.",
            ) from None
        self._clear(job.folder)
        return self.place_of(job, role, folder)

    def _clear(self, folder: Path) -> None:
        """Delete what is left of a job without its source: if not now, with the next look, or at the next start."""
        self._uncleared.add(folder)
        with suppress(MachineError):
            if job_folders.clear(folder):
                self._uncleared.discard(folder)

    @staticmethod
    def place_of(job: Job, role: str, folder: Path) -> Path:
        """Say where a source lies, or will, once its name in a folder is recorded; of a sequence, its first file."""
        first = next(iter(job.files))
        return folder / (job.record.names[role] + ("" if first.startswith("/") else first))

    def adopt(self) -> list[Job]:
        """Take in what came since the last time: jobs of other daemons, and reruns. Raises MachineError.

        What is left of jobs that are done is deleted.
        """
        for folder in sorted(self._uncleared):
            self._clear(folder)
        with os_errors.machine_faults("look into the work folder", self._work):
            names = sorted(os.listdir(self._work))
        adopted: list[Job] = []
        for name in filter(lambda name: _REQUEST.fullmatch(name) or _ADOPTED.fullmatch(name), names):
            try:
                job = (self._adopt if _REQUEST.fullmatch(name) else self._adopt_folder)(self._work / name)
            except MachineError:
                if not adopted:
                    raise
                break  # these are no longer asked for; the next look meets the fault again
            if job:
                adopted.append(job)
        return adopted

    def _adopt(self, request: Path) -> Job | None:
        asked = rerun_requests.asked_in(request)
        job = None
        if asked:
            job = Job(request.with_name(request.stem.removeprefix("rerun-")), replace(asked, watch=self.watch))
            with suppress(FileExistsError):  # from before a crash
                durable.make_new_folder(job.folder)
            job.begin()
        durable.remove(request)
        return job

    def _adopt_folder(self, came: Path) -> Job | None:
        job = self._recovered(came)
        folder = came.with_name(came.name.removeprefix(ADOPTED))
        while job:
            try:
                durable.move_new(came, folder, tag="adopt")
            except FileExistsError:
                folder = came.with_name(job_folders.new_id())
            else:
                return Job(folder, job.record)
        return None

    def recover(self) -> Iterator[Job]:
        """Go through what the last run left: yield the jobs to run, clean up the others. Raises MachineError."""
        with os_errors.machine_faults("look into the work folder", self._work):
            adopted = self.adopt()  # first, or a folder made for a request might be taken for one that a claim left
            known = {one.id for one in adopted}
            for folder in sorted(path for path in self._work.iterdir() if _JOB.fullmatch(path.name)):
                if folder.name not in known and (job := self._recovered(folder)):
                    yield job
            yield from adopted

    def _recovered(self, folder: Path) -> Job | None:
        """Go through one job folder. Returns its job if that is to be run; else all is done. Raises MachineError."""
        job = job_folders.recorded(folder)
        if job and not job.record.rerun and "inbox" not in job.record.names:
            self._finish_claim(job)
        if job is None or not (job.record.rerun or job.held):
            job = job_folders.without_record(folder, self.watch)
        if job is None:  # before the claim, or after the end
            job_folders.clear(folder, at_start=True)
        elif "inbox" in job.record.names or (not job.record.rerun and _half_claimed(job)):
            self.give_back(job)
            return None
        return job

    def _finish_claim(self, job: Job) -> None:
        """Bring a claim to its end that broke off while it copied. Raises MachineError."""
        for ending, stamp in job.record.stamps.items():
            held = job.files[ending]
            with (
                os_errors.machine_faults("look at", self._inbox / job.record.dropped_as(ending)),
                suppress(FileNotFoundError, NotADirectoryError),
                beneath(self._inbox, job.record.dropped_as(ending)) as dropped,
            ):
                claiming.finish(dropped, held, tag=job.id.removeprefix(ADOPTED))
                if _stamped(dropped) == stamp and comparing.same_file(dropped, held):
                    durable.remove(dropped)  # a twin, as a power cut or an earlier version leaves one


def _half_claimed(job: Job) -> bool:
    """Whether a group's claim broke off; what lacks may also have gone out already."""
    return len(job.held) < len(job.files) and not job.record.names.keys() & {"archive", "error"}


def _put(job: Job, path: Path, files: Mapping[str, Path] | None = None) -> None:
    file_group.put_all(files or job.files, job.record.stamps, path, tag=job.id)


def _taken_by(job: Job) -> list[str]:
    """List what must be free beside a source's name: for each of its files; for those of a folder, the folder."""
    endings = dict.fromkeys("/" if ending.startswith("/") else ending for ending in job.record.stamps)
    return [one.rstrip("/") for one in file_group.beside(Path(job.record.name), endings)]


def _stamped(path: Path) -> FileStamp | None:
    try:
        return FileStamp.of(path.lstat())
    except OSError:
        return None
