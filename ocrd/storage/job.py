"""One job: a claimed source in a folder of its own, and its record. spool.py tells what a crash leaves of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ocrd.errors import OcrdError
from ocrd.filetypes import DUPLEX_FOLDER
from ocrd.model import COMPANION, FileStamp, PageResult
from ocrd.storage import durable, file_group
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.result import Content, Result
from ocrd.storage.safe_paths import lies_at

RECORD = "job.json"
DAMAGE = (ValueError, KeyError, TypeError, AttributeError)
"""What comes of reading a record that is damaged."""
COMPANION_FILE = f"source{COMPANION}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a source goes to error/."""

    what: str
    """One sentence: what happened."""
    remedy: str
    """One sentence: what to do about it."""
    date: str
    """When it was refused, ISO 8601 with time zone."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """Pages of a delivered document that are to be read again."""

    sidecar: str
    """Path of the sidecar, relative to the outbox."""
    pages: tuple[int, ...]
    """Their numbers, from 1."""
    sha256: str = ""
    """Digest of what the document was read from, by which its sidecar is found if it is moved; empty if not known."""

    def __post_init__(self) -> None:
        """Raise ValueError for a path that leads out of the outbox, or pages that are none."""
        path = Path(self.sidecar)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(self.sidecar)
        if not self.pages or not all(isinstance(page, int) and page > 0 for page in self.pages):
            raise ValueError(self.pages)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What job.json holds."""

    watch: str
    """Name of the watch whose inbox the source came from."""
    name: str
    """The source's path relative to the inbox, as it was dropped; of a group, what its files' paths begin with."""
    stamp: FileStamp | None
    """Its stamp when it had settled; None for a group."""
    members: dict[str, FileStamp] = field(default_factory=dict)
    """The files of a group by ending, in the order of their pages, with their stamps when they had settled."""
    duplex: bool = False
    """Whether it is a duplex scan: the first file has the fronts, the second the backs, last first."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Paths relative to the inbox, as they were dropped, of files that are called otherwise from the claim on; by
    ending."""
    attempts: int = 0
    """Attempts charged: those under way, and those whose end nobody can explain."""
    refusal: Refusal | None = None
    """Set once the source is on its way to error/."""
    partial: bool = False
    """Whether the result tells of pages with problems."""
    names: dict[str, str] = field(default_factory=dict)
    """Names recorded before their use, by role (`sidecar`, `archive`, `error`), relative to that role's folder."""
    rerun: Rerun | None = None
    """What is to be read again; None for a source that was dropped."""
    companion: FileStamp | None = None
    """The stamp of the file with the settings for this source alone, when it had settled; None if there was none."""
    settings: dict[str, str | None] = field(default_factory=dict)
    """Settings for this source as they were when it was claimed, unchecked: by the path of their file below the inbox,
    what that held; None where it could not be read. The later ones go before the earlier."""
    given: str = ""
    """The path, relative to outbox and archive, that a template made for it, without an ending; empty: as dropped."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a record back, also one of another version: what is missing has its default, what is unknown no effect.

        Raises one of `DAMAGE` if it is damaged.
        """
        raw: dict[str, Any] = json.loads(data)
        known = {one.name: raw[one.name] for one in fields(cls) if one.name in raw}
        refusal, again, stamp = known.pop("refusal", None), known.pop("rerun", None), known.pop("stamp")
        companion = known.pop("companion", None)
        group = {ending: FileStamp(**one) for ending, one in known.pop("members", {}).items()}
        record = cls(
            stamp=None if group else FileStamp(**stamp),
            members=group,
            refusal=Refusal(**refusal) if refusal else None,
            rerun=Rerun(again["sidecar"], tuple(again["pages"]), again.get("sha256", "")) if again else None,
            companion=FileStamp(**companion) if companion else None,
            **known,
        )
        paths = (
            record.name,
            record.given or record.name,
            *record.names.values(),
            *record.paths,
            *record.dropped.values(),
        )
        if not all(map(_leads_down, paths)) or not isinstance(record.attempts, int):
            raise ValueError(data)
        return record

    @property
    def stamps(self) -> dict[str, FileStamp]:
        """The stamp of each file by its ending, which is empty for a single one; the companion comes last."""
        stamps = {"": self.stamp} if self.stamp else self.members
        return stamps | ({COMPANION: self.companion} if self.companion else {})

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of a group's files relative to the inbox, as they go out; none for a single one."""
        return tuple(self.name + ending for ending in self.members)

    def dropped_as(self, ending: str) -> str:
        """Return the path of a file relative to the inbox, as it was dropped."""
        return self.dropped.get(ending, self.name + ending)

    @property
    def stem(self) -> str:
        """The path, relative to inbox and outbox, by which what comes of the source is called, but for the endings."""
        return self.given or (self.name if self.members else str(Path(self.name).with_suffix("")))

    @property
    def archived(self) -> str:
        """The path, relative to the archive, that is wanted there; of a group, what its files' paths begin with."""
        return self.given + ("" if self.members else Path(self.name).suffix) if self.given else self.name

    @property
    def modified(self) -> float:
        """When its first file was last changed before it was taken, seconds since 1970."""
        return next(iter(self.stamps.values())).mtime_ns / 1e9


def _leads_down(name: object) -> bool:
    """Whether this is the path of something below a folder."""
    if not isinstance(name, str):
        return False
    path = Path(name)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


class Job:
    """One claimed source: its folder and its record. Every change of the record is durable before it counts."""

    def __init__(self, folder: Path, record: JobRecord) -> None:
        self.folder = folder
        self.record = record
        self._charged = False

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def claimed(self) -> float:
        """When it was claimed, seconds since the epoch; its name tells."""
        return datetime.strptime(self.id.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()

    @property
    def source(self) -> Path:
        """Where the source lies while it is ours: a file, whose suffix is kept for people, or a group's folder."""
        if self.record.duplex:
            return self.folder / f"source{DUPLEX_FOLDER}"
        return self.folder / ("source" + ("" if self.record.members else Path(self.record.name).suffix.lower()))

    @property
    def files(self) -> dict[str, Path]:
        """Where each file of the source lies while it is ours, by its ending."""
        files = {"": self.source}
        if self.record.members:
            names = {ending: Path(self.record.name + ending).name for ending in self.record.members}
            if self.record.duplex:
                names = dict(zip(names, file_group.numbered(names.values()), strict=True))
            files = {ending: self.source / name for ending, name in names.items()}
        return files | ({COMPANION: self.folder / COMPANION_FILE} if self.record.companion else {})

    @property
    def held(self) -> dict[str, Path]:
        """Those files that lie there now."""
        return {ending: path for ending, path in self.files.items() if lies_at(path)}

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of JobRecord
        """Change fields of the record. Raises MachineError, and then nothing has changed."""
        record = replace(self.record, **changes)
        if record != self.record:
            self._write(record)

    def begin(self) -> None:
        """Write the record down for the first time. Raises MachineError."""
        self._write(self.record)

    def _write(self, record: JobRecord) -> None:
        durable.write_own(self.folder / RECORD, json.dumps(asdict(record)).encode())
        self.record = record

    def charge(self) -> None:
        """Count an attempt, once in this process, before any work that could kill it."""
        if not self._charged:
            self.update(attempts=self.record.attempts + 1)
            self._charged = True

    def refund(self) -> None:
        """Take the attempt back: it ended by a stop or a fault of the machine, not by the source."""
        if self._charged:
            self.update(attempts=self.record.attempts - 1)
            self._charged = False

    def name_for(self, role: str, name: str) -> None:
        """Record the name that is about to be used for a role."""
        self.update(names={**self.record.names, role: name})

    @property
    def result(self) -> Result | None:
        """The finished result, once there is one."""
        result = Result(self.folder)
        return result if result.pieces else None

    def keep_result(
        self, files: Mapping[str, Content], figures: Iterable[str] = (), facts: Mapping[str, str | int] | None = None
    ) -> None:
        """Make the finished result durable: files by ending, and kept figures. From here on nothing is read again."""
        Result(self.folder).finish(files, figures, facts)

    def keep_page(self, page: PageResult, provenance: str, figures: Mapping[str, bytes] | None = None) -> None:
        """Make one page's result durable, its figures by name first.

        `provenance` names source and engine: the page counts only for these.
        """
        Result(self.folder).keep_figures(figures or {})
        folder = self.folder / "pages"
        durable.make_folders(folder, below=self.folder)
        record = {"provenance": provenance, "page": page.to_json()}
        durable.write_own(folder / f"{page.index + 1:04}.json", json.dumps(record).encode())

    def kept_pages(self, provenance: str) -> dict[int, PageResult]:
        """Return the pages read before a restart, by index, that came from this source and this engine.

        What was cropped from the others is deleted.
        """
        pages: dict[int, PageResult] = {}
        with machine_faults("read the pages in", self.folder):
            for path in sorted(self.folder.glob("pages/*.json")):
                try:
                    record = json.loads(path.read_bytes())
                    if record["provenance"] == provenance:
                        page = PageResult.from_json(record["page"])
                        pages[page.index] = page
                except (ValueError, KeyError, TypeError):
                    continue  # damaged: read the page again
        Result(self.folder).keep_no_figures_but({name for page in pages.values() for name in page.figures})
        return pages

    def unchanged(self) -> bool:
        """Whether the source is still what was claimed; a writer may have held it open."""
        stamps = self.record.stamps
        with machine_faults("look at", self.source):
            return all(file_group.alike(FileStamp.of(path.lstat()), stamps[end]) for end, path in self.files.items())


def refusal_of(error: OcrdError) -> Refusal:
    """Keep an error's two sentences, and when it was."""
    return Refusal(error.what, error.remedy, datetime.now(UTC).astimezone().isoformat(timespec="seconds"))
