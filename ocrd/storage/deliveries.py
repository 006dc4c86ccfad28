"""Documents that were delivered: which sidecar a name means, what it says of itself, and where its original lies.

A sidecar is a delivered file that tells of its document; which kinds do, the registry of output kinds says.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocrd.config.schema import Watch
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError
from ocrd.filetypes import is_source_name
from ocrd.model import Verdict
from ocrd.output import kinds
from ocrd.storage.durable import copy_own, copy_scratch, remove_folder
from ocrd.storage.ledger import Ledger
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import NotRegularError, beneath, for_children, regular


@dataclass(frozen=True, slots=True)
class Delivered:
    """A sidecar in its outbox."""

    watch: Watch
    """Whose outbox it is."""
    sidecar: str
    """Its path below the outbox: of the files that tell of the document, the first as `kinds.SIDECARS` has them."""
    facts: dict[str, Any]
    """What it says of itself, such as `source` and `sha256`; empty where it has no front matter."""

    @property
    def ending(self) -> str:
        """The sidecar's ending, with the dot."""
        return Path(self.sidecar).suffix

    @property
    def stem(self) -> str:
        """The path below the outbox without the ending."""
        return self.sidecar.removesuffix(self.ending)

    @property
    def source(self) -> str:
        """What its source was called, below the inbox, as far as is known."""
        return str(self.facts.get("source") or self.stem)


def find(name: str, watches: Iterable[Watch]) -> Delivered:
    """Find the delivered document that a person means by the name of the sidecar or of the source.

    The name is a path below outbox or inbox, or a whole path. Raises DocumentError if it fits none or several.
    """
    watches = tuple(watches)
    found = [delivered for watch in watches for delivered in _in_watch(name, watch) if _is_its_own(delivered, watches)]
    if not found:
        outboxes = ", ".join(shown(watch.outbox) for watch in watches)
        raise DocumentError(
            f"There is no sidecar of {shown(name)} in {outboxes}.",
            "Give the name of a scan or of its sidecar, with its subfolder; the sidecar must lie in its outbox.",
        )
    if len(found) > 1:
        paths = sorted({shown(delivered.watch.outbox / delivered.sidecar) for delivered in found})
        if len(paths) == 1:
            several = ", ".join(delivered.watch.name for delivered in found)
            raise DocumentError(
                f"Nothing tells which of the watches {several} delivered {paths[0]}.",
                "Put its original back into the archive of that watch.",
            )
        listed = ", ".join(paths)
        raise DocumentError(f"{shown(name)} can mean several: {listed}.", "Give the whole path of one of these.")
    return found[0]


def with_problems(watches: Iterable[Watch]) -> Iterator[Delivered]:
    """Find all delivered documents with pages that somebody should look at, watch by watch. Raises MachineError."""
    watches = tuple(watches)
    for watch in watches:
        with machine_faults("list", watch.outbox):
            names = {str(path.relative_to(watch.outbox)) for path in watch.outbox.rglob("*")}
        stems = sorted(
            {name.removesuffix(ending) for ending in kinds.SIDECARS for name in names if name.endswith(ending)}
        )
        for stem in stems:
            with suppress(DocumentError):  # collected meanwhile
                for delivered in _sidecar(watch, Path(stem)):
                    if problems(delivered) and _is_its_own(delivered, watches):
                        yield delivered


def _is_its_own(delivered: Delivered, watches: Iterable[Watch]) -> bool:
    """Whether a sidecar may be of this watch: not if only others that share its outbox know it.

    A watch knows it by its ledger; where no ledger does, or several do, by its original.
    """
    path = delivered.watch.outbox / delivered.sidecar
    sharing = [
        replace(delivered, watch=watch, sidecar=str(path.relative_to(watch.outbox)))
        for watch in watches
        if path.is_relative_to(watch.outbox)
    ]
    if len(sharing) == 1:
        return True
    known = [one for one in sharing if _in_ledger(one)] or sharing
    if len(known) > 1:
        known = [one for one in known if original(one.watch, one.facts, one.sidecar)] or known
    return delivered.watch in [one.watch for one in known]


def _in_ledger(delivered: Delivered) -> bool:
    """Whether its watch's ledger tells of this sidecar, or of a scan's last part for all of them."""
    part = re.fullmatch(r"(\d{1,5}) of (\d{1,5})", str(delivered.facts.get("part")))
    stem = delivered.stem.removesuffix(f"-{part[1]}") + f"-{part[2]}" if part else delivered.stem
    with suppress(MachineError):  # a broken one tells nothing
        entries = Ledger(delivered.watch.work_folder).entries()
        return any(
            entry.kind != "skipped" and str(Path(entry.sidecar).with_suffix("")) == shown(stem) for entry in entries
        )
    return False


def _in_watch(name: str, watch: Watch) -> Iterator[Delivered]:
    path = Path(name)
    if path.is_absolute():
        homes = [home for home in (watch.outbox, watch.archive, watch.error, watch.inbox) if path.is_relative_to(home)]
        if not homes:
            return
        path = path.relative_to(homes[0])
    if ".." in path.parts or not path.name:
        return
    if not is_source_name(path.name):
        stem = path.with_suffix("") if path.suffix in kinds.SIDECARS else path
        yield from _sidecar(watch, stem)
        return
    folder = watch.outbox / path.parent
    like = re.compile(rf"{re.escape(path.stem)}(?: \(\d+\))?(?:-\d+)?")
    stems = {entry.stem for entry in folder.iterdir() if entry.suffix in kinds.SIDECARS} if folder.is_dir() else set()
    for found in sorted(filter(like.fullmatch, stems)):
        for delivered in _sidecar(watch, path.with_name(found)):
            if delivered.facts.get("source", str(path)) == shown(path):
                yield delivered


def _sidecar(watch: Watch, stem: Path) -> Iterator[Delivered]:
    for ending in kinds.SIDECARS:
        name = f"{stem}{ending}"
        if (watch.outbox / name).is_file():
            yield look(watch, name)
            return


def look(watch: Watch, sidecar: str) -> Delivered:
    """Read what a sidecar says of itself; where it says nothing, as Markdown without front matter, one beside it may.

    Raises DocumentError if it is not there, MachineError.
    """
    delivered = Delivered(watch, sidecar, facts_in(sidecar, read(watch.outbox, sidecar)))
    for ending in kinds.SIDECARS:
        beside = delivered.stem + ending
        if not delivered.facts and beside != sidecar and (watch.outbox / beside).is_file():
            delivered = replace(delivered, facts=facts_in(beside, read(watch.outbox, beside)))
    return delivered


def parts(watch: Watch, sidecar: str) -> list[str]:
    """List the sidecars of all parts of a scan by the last one, as far as that says of itself which one it is.

    One that was renamed since, in the same folder, is found by what it says of itself. Raises MachineError.
    """
    with suppress(DocumentError):  # collected meanwhile
        last = look(watch, sidecar)
        count = re.fullmatch(r"(\d{1,5}) of \1", str(last.facts.get("part")))
        ending = f"-{count[1]}{last.ending}" if count else ""
        if count and sidecar.endswith(ending):
            stem = sidecar.removesuffix(ending)
            named = {number: f"{stem}-{number}{last.ending}" for number in range(1, int(count[1]) + 1)}
            if not all((watch.outbox / name).is_file() for name in named.values()):
                named |= _renamed_parts(last)
            return list(named.values())
    return [sidecar]


def _renamed_parts(one: Delivered) -> dict[int, str]:
    """Find the parts of the same scan in the folder of one of them, by number. Raises MachineError."""
    found = {}
    folder = one.watch.outbox / Path(one.sidecar).parent
    for path in sorted(folder.glob(f"*{one.ending}"), reverse=True):
        name = str(path.relative_to(one.watch.outbox))
        with suppress(DocumentError):
            facts = look(one.watch, name).facts
            number, _, total = str(facts.get("part")).partition(" of ")
            if facts.get("sha256") == one.facts.get("sha256") and f"{total} of {total}" == one.facts["part"]:
                found[int(number)] = name
    return found


def numbers(delivered: Delivered) -> list[int]:
    """List the pages of the source that a sidecar holds, from 1.

    Raises DocumentError if it is gone, or of a kind that can't tell, MachineError.
    """
    sidecar = kinds.SIDECARS.get(delivered.ending)
    if sidecar is None:
        raise DocumentError(
            f"{shown(delivered.sidecar)} does not say which pages it has.", "Name the Markdown or the JSON beside it."
        )
    return sorted(set(sidecar.pages(read(delivered.watch.outbox, delivered.sidecar))))


def problems(delivered: Delivered) -> list[int]:
    """List the pages that a document says somebody should look at, from 1 in the source."""
    told, pages = delivered.facts.get("problems"), delivered.facts.get("pages")
    if not isinstance(told, list):  # JSON has it at each page
        told = [page for page in pages if not _is_sound(page)] if isinstance(pages, list) else []
    numbers = {page.get("page") for page in told if isinstance(page, dict)}
    return sorted(number for number in numbers if isinstance(number, int))


def _is_sound(page: object) -> bool:
    with suppress(ValueError):
        return isinstance(page, dict) and Verdict(str(page.get("verdict"))).sound
    return False


def facts_in(name: str, data: bytes) -> dict[str, Any]:
    """Take from a delivered file what it says of its document; nothing if it is damaged, or none that can tell."""
    sidecar = kinds.SIDECARS.get(Path(name).suffix)
    return (sidecar and sidecar.facts(data)) or {}


def read(folder: Path, name: str) -> bytes:
    """Read a file below a shared folder, through no link. Raises DocumentError if there is none, MachineError."""
    with machine_faults("read", folder / name), _opened(folder, name) as opened:
        return opened.read_bytes()


def copy(folder: Path, name: str, target: Path) -> None:
    """Copy a file below a shared folder to one of ours. Raises as `read`."""
    with machine_faults("read", folder / name), _opened(folder, name) as opened:
        copy_own(opened, target)


@dataclass(frozen=True, slots=True)
class Original:
    """What a document was read from, where it lies."""

    folder: Path
    """The archive, or the error folder."""
    files: tuple[str, ...]
    """Paths below it, in the order of the pages."""
    group: bool = False
    """Whether it is one of images that became one document, if only one of them."""

    @property
    def path(self) -> Path:
        """Where a person finds it; of several files the first."""
        return self.folder / self.files[0]


def original(watch: Watch, facts: dict[str, Any], sidecar: str) -> Original | None:
    """Find the original in the archive, or in error/: by its name, and by its digest if that is known."""
    named = str(facts.get("source") or sidecar)
    files = facts.get("files")
    if Path(named).is_absolute() or ".." in Path(named).parts:  # anybody can have written it
        return None
    for folder in (watch.archive, watch.error):
        with machine_faults("look for the original in", folder):
            if isinstance(files, list) and files:
                found = _groups_like(folder, named, [str(file) for file in files])
            else:
                found = (Original(folder, (str(path.relative_to(folder)),)) for path in _like(folder / named))
            for candidate in found:
                if "sha256" not in facts or _digest(candidate) == facts["sha256"]:
                    return candidate
    return None


@contextmanager
def opened_original(original: Original, scratch: Path) -> Iterator[Path]:
    """Keep an original open where it lies, and give a path by which the render workers read that very file.

    Whatever is put in its place meanwhile is not looked at. The files of a group, which can be too many to be kept
    open, are copied to `scratch`, a folder that is made for them. Raises DocumentError if it is gone, MachineError.
    """
    with machine_faults("read", original.path), ExitStack() as stack:
        if not original.group:
            yield for_children(stack.enter_context(_opened(original.folder, original.files[0])))
            return
        remove_folder(scratch)  # from before a crash
        for name in original.files:
            with _opened(original.folder, name) as file:
                copy_scratch(file, scratch / Path(name).name)
        yield scratch


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[Path]:
    try:
        with beneath(folder, name) as path, regular(path) as opened:
            yield opened
    except (FileNotFoundError, NotADirectoryError, NotRegularError) as error:
        raise _gone(folder / name) from error


def _gone(path: Path) -> DocumentError:
    return DocumentError(f"There is no file {shown(path)} any more.", "Put it back there, and try again.")


def _like(path: Path) -> Iterator[Path]:
    """List the files with this name, or with a number in it since it was taken."""
    if not path.parent.is_dir():
        return
    known = is_source_name(path.name)
    suffix = re.escape(path.suffix) if known else r"\.(?:pdf|tiff?|jpe?g|png|webp|hei[cf])"
    stem = path.stem if known or path.suffix in kinds.SIDECARS else path.name
    like = re.compile(rf"{re.escape(stem)}(?: \(\d+\))?{suffix}", re.IGNORECASE)
    yield from sorted(entry for entry in path.parent.iterdir() if like.fullmatch(entry.name) and entry.is_file())


def _groups_like(folder: Path, named: str, files: list[str]) -> Iterator[Original]:
    """List the groups with this name, or with a number in it since it was taken, of which every file is there."""
    endings = [file.removeprefix(named) for file in files]
    stem = folder / named
    paths = [Path(name) for name in (named, *files)]
    if not stem.parent.is_dir() or any(path.is_absolute() or ".." in path.parts for path in paths):
        return
    like = re.compile(rf"({re.escape(stem.name)}(?: \(\d+\))?){re.escape(endings[0].partition('/')[0])}")
    for entry in sorted(stem.parent.iterdir()):
        if match := like.fullmatch(entry.name):
            beside = Path(named).with_name(match[1])
            yield Original(folder, tuple(f"{beside}{ending}" for ending in endings), group=True)


def _digest(original: Original) -> str | None:
    """Compute the digest that a document tells: of a file, or over those of a group's files in their order."""
    digests = []
    for name in original.files:
        try:
            with _opened(original.folder, name) as path, path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except DocumentError:
            return None
    return hashlib.sha256(" ".join(digests).encode()).hexdigest() if original.group else digests[0]
