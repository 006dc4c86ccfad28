"""Where the original of a delivered document lies: at its own place, or wherever somebody tidied it to.

An original is known by its digest. One that is not where it was archived is looked for in all of the archive and the
error folder, whose digests are kept in `.ocrd-digests.json` in each: made when first asked for, and for every file made
anew whose size or time has changed. What stands there is a hint only, since others may write there: what is found by it
is hashed again before it counts.
"""

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any

from ocrd.config import overrides
from ocrd.config.duplex import Duplex
from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError
from ocrd.filetypes import DUPLEX_FOLDER, IMAGE_SUFFIXES, in_order, is_source_name
from ocrd.model import COMPANION
from ocrd.output import kinds
from ocrd.storage import file_group
from ocrd.storage.durable import remove_folder, write_own
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import NotRegularError, beneath, for_children, regular
from ocrd.storage.scratch import copy_scratch

INDEX = ".ocrd-digests.json"
_MOST = 1 << 28
"""Bytes of an index that is still read: some million files."""

_NUMBER = re.compile(r" \(\d+\)$")
"""What a name gets that was taken."""

_Stamped = tuple[int, int, str]
"""Size in bytes, modification time in nanoseconds, digest."""


@dataclass(frozen=True, slots=True)
class Original:
    """What a document was read from, where it lies."""

    folder: Path
    """The archive, or the error folder."""
    files: tuple[str, ...]
    """Paths below it, in the order of the pages."""
    group: bool = False
    """Whether it is one of files that became one document, if only one of them."""
    duplex: bool = False
    """Whether these are fronts and backs."""
    others: tuple[Path, ...] = ()
    """What lies under its name in its stead, and is another file."""

    @property
    def path(self) -> Path:
        """Where a person finds it; of several files the first."""
        return self.folder / self.files[0]

    @property
    def remark(self) -> str:
        """A sentence on what lies in its stead, with a space before it; empty where nothing does."""
        return "".join(f" {shown(other)} is another file, by its digest." for other in self.others)


def original(watch: Watch, facts: Mapping[str, Any], sidecar: str) -> Original | None:
    """Find the original of a document in the archive or in error/.

    None if it is in neither, or if the document tells no digest and several files may be it. Raises MachineError.
    """
    named = str(facts.get("source") or sidecar)
    if Path(named).is_absolute() or ".." in Path(named).parts:  # anybody can have written it
        return None
    files = facts.get("files")
    members = [str(file) for file in files] if isinstance(files, list) else []
    digest = facts.get("sha256")
    names = _names_of(named, sidecar)
    others: list[Path] = []
    for folder in (watch.archive, watch.error):
        with machine_faults("look for the original in", folder):
            candidates = list(_at_its_place(folder, named, members))
            candidates += _called_as_its_sidecar(folder, named, members, sidecar) if digest else []
        if digest is None and candidates:
            return candidates[0] if len(candidates) == 1 else None
        with machine_faults("look for the original in", folder):
            for candidate in candidates:
                if _digest(candidate) == digest:
                    return replace(candidate, others=tuple(others), duplex=candidate.duplex or "duplex" in facts)
                others.append(candidate.path)
    for folder in (watch.archive, watch.error) if digest else ():
        if members:
            moved = _moved_groups(folder, [file.removeprefix(named) for file in members], names)
        else:
            moved = chain(
                _moved_files(folder, named, str(digest)),
                _unlisted_groups(folder, names),
                _unlisted_duplex(folder, names, watch.duplex),
                _renamed_folders(folder, str(digest)),
            )
        with machine_faults("look for the original in", folder):
            for candidate in moved:
                if _digest(candidate) == digest:
                    return replace(candidate, others=tuple(others), duplex=candidate.duplex or "duplex" in facts)
    return None


def _names_of(named: str, sidecar: str) -> list[str]:
    """List what a document may be called in the archive: as it was dropped, or, by a template, as its sidecar is.

    Also as a whole where that is of a part, and without the number that a taken name got, which may be another there.
    """
    stem = Path(sidecar).with_suffix("").name
    whole = re.sub(r"-\d+$", "", stem)
    return list(dict.fromkeys([Path(named).name, stem, whole, *(_NUMBER.sub("", name) for name in (stem, whole))]))


def missing(watch: Watch, facts: Mapping[str, Any], sidecar: str, remedy: str) -> DocumentError:
    """Say why there is no original: nothing is there, something else under its name, or several that may be it."""
    named, files = str(facts.get("source") or sidecar), facts.get("files")
    members = [str(file) for file in files] if isinstance(files, list) else []
    is_outside = Path(named).is_absolute() or ".." in Path(named).parts
    folders = () if is_outside else (watch.archive, watch.error)
    like = [shown(one.path) for folder in folders for one in _at_its_place(folder, named, members)]
    neither = f"neither in {shown(watch.archive)} nor in {shown(watch.error)}."
    if "sha256" in facts:
        differ = [f" {one} is another file, or was changed since: its digest differs." for one in like]
        what = f"The original of {shown(sidecar)} is {neither}" + "".join(differ)
    elif like:
        what = f"Nothing tells which of these {shown(sidecar)} was read from: {', '.join(like)}."
    else:
        what = f"Nothing tells what {shown(sidecar)} was read from, and a scan of its name is {neither}"
    return DocumentError(what, remedy)


@contextmanager
def opened(original: Original, scratch: Path) -> Iterator[Path]:
    """Keep an original open where it lies, and give a path by which the render workers read that very file.

    Whatever is put in its place meanwhile is not looked at. The files of a group, which can be too many to be kept
    open, are copied to `scratch`, a folder that is made for them. Raises DocumentError if it is gone, MachineError.
    """
    with machine_faults("read", original.path), ExitStack() as stack:
        if not original.group:
            yield for_children(stack.enter_context(opened_file(original.folder, original.files[0])))
            return
        names = [Path(name).name for name in original.files]
        if original.duplex:
            names, scratch = file_group.numbered(names), scratch.with_name(scratch.name + DUPLEX_FOLDER)
        remove_folder(scratch)  # from before a crash
        for name, target in zip(original.files, names, strict=True):
            with opened_file(original.folder, name) as file:
                copy_scratch(file, scratch / target)
        yield scratch


def companion_of(original: Original) -> str | None:
    """Read the companion that was archived beside an original; None if there is none. Raises MachineError."""
    name = f"{original.files[0]}{COMPANION}"
    with (
        suppress(DocumentError),  # no plain file lies there
        machine_faults("read", original.folder / name),
        opened_file(original.folder, name) as path,
        path.open("rb") as file,
    ):
        return file.read(overrides.MOST + 1).decode(errors="surrogateescape")
    return None


def digest_of(path: Path) -> str | None:
    """Compute the digest of a file that somebody names; None if it can't be read, or is no plain file."""
    try:
        with regular(path) as held:
            return _hashed(held)
    except (OSError, NotRegularError):
        return None


def gone(path: Path) -> DocumentError:
    """Say that a file is not there any more."""
    return DocumentError(f"There is no file {shown(path)} any more.", "Put it back there, and try again.")


@contextmanager
def opened_file(folder: Path, name: str) -> Iterator[Path]:
    """Keep a file below a shared folder open, through no link. Raises DocumentError if there is none, OSError."""
    try:
        with beneath(folder, name) as path, regular(path) as held:
            yield held
    except (FileNotFoundError, NotADirectoryError, NotRegularError) as error:
        raise gone(folder / name) from error


# -- at its own place


def _at_its_place(folder: Path, named: str, members: list[str]) -> Iterator[Original]:
    around = _really_called(folder, str(Path(named).parent))
    if around is None or any(Path(name).is_absolute() or ".." in Path(name).parts for name in members):
        return
    if members:
        yield from _groups_like(folder, around, Path(named).name, [file.removeprefix(named) for file in members])
    else:
        names = _like(folder / around, Path(named))
        yield from (
            Original(folder, (str(Path(around, name)),)) for name in names if (folder / around / name).is_file()
        )


def _called_as_its_sidecar(folder: Path, named: str, members: list[str], sidecar: str) -> Iterator[Original]:
    """List what lies where a template of names put original and sidecar alike."""
    stem = str(Path(sidecar).with_suffix(""))
    called = stem if members else stem + Path(named).suffix
    if called != named:
        yield from _at_its_place(folder, called, [stem + file.removeprefix(named) for file in members])


def _like(folder: Path, named: Path) -> Iterator[str]:
    """List the files in a folder with a document's name, or with a number in it since it was taken."""
    known = is_source_name(named.name)
    suffix = re.escape(named.suffix) if known else r"\.(?:pdf|tiff?|jpe?g|png|webp|hei[cf])"
    stem = named.stem if known or named.suffix in kinds.SIDECARS else named.name
    like = re.compile(rf"{re.escape(shown(stem))}(?: \(\d+\))?{suffix}", re.IGNORECASE)
    yield from sorted(name for name in _names(folder) if like.fullmatch(shown(name)))


def _groups_like(folder: Path, around: str, stem: str, endings: list[str]) -> Iterator[Original]:
    """List the groups with this name, or with a number in it since it was taken, of which every file is there."""
    like = re.compile(rf"({re.escape(stem)}(?: \(\d+\))?){re.escape(endings[0].partition('/')[0])}")
    stems = {match[1] for name in _names(folder / around) if (match := like.fullmatch(shown(name)))}
    for one in sorted(stems):
        names = [_really_called(folder, str(Path(around, f"{one}{ending}"))) for ending in endings]
        yield Original(folder, tuple(name or "" for name in names), group=True)


def _names(folder: Path) -> list[str]:
    with machine_faults("list", folder):
        return os.listdir(folder) if folder.is_dir() else []


def _really_called(folder: Path, named: str) -> str | None:
    """Find the path below a folder that a document tells, spelled as for a person; None if there is none."""
    found = Path()
    for part in Path(named).parts:
        names = [part] if os.path.lexists(folder / found / part) else _names(folder / found)
        name = next((name for name in names if shown(name) == shown(part)), None)
        if name is None:
            return None
        found /= name
    return str(found)


# -- wherever it was tidied to


def _moved_files(folder: Path, named: str, digest: str) -> Iterator[Original]:
    """List the files below a folder that may be it: those of its name, then those that the index knows it by."""
    there = _sources(folder)
    alike = [name for name in there if shown(Path(name).name) == shown(Path(named).name)]
    yield from (Original(folder, (name,)) for name in alike)
    if there:
        known = _digests(folder, there)
        yield from (Original(folder, (name,)) for name in there if known.get(name) == digest and name not in alike)


def _moved_groups(folder: Path, endings: list[str], called: list[str]) -> Iterator[Original]:
    """List the groups in the folders below a folder: all files of one, under whatever name, or some with its names."""
    for around in sorted({path.parent for path in _walked(folder)}):
        place = str(around.relative_to(folder))
        if not endings[0].startswith("/"):
            yield from chain.from_iterable(_groups_like(folder, place, name, endings) for name in called)
            continue
        names = [_really_called(folder, f"{place}{ending}") for ending in endings]
        if all(names):
            yield Original(folder, tuple(name or "" for name in names), group=True)


def _unlisted_groups(folder: Path, called: list[str]) -> Iterator[Original]:
    """List the groups below a folder with a document's names, where the document does not tell which files they had."""
    for around in sorted({path.parent for path in _walked(folder)}):
        inside = sorted(filter(_is_image, _names(around)), key=in_order)
        groups = [[one for one in inside if shown(one).startswith(name)] for name in called]
        groups = [inside] if shown(around.name) in called else groups
        for group in filter(None, groups):
            yield Original(folder, tuple(str(around.relative_to(folder) / one) for one in group), group=True)


def _renamed_folders(folder: Path, digest: str) -> Iterator[Original]:
    """List the folders below a folder, under whatever name, whose images have this digest together, by the index."""
    known = _digests(folder, _sources(folder))
    inside: defaultdict[Path, list[str]] = defaultdict(list)
    for name in sorted(filter(_is_image, known), key=lambda name: in_order(Path(name).name)):
        inside[Path(name).parent].append(name)
    for names in inside.values():
        if _together(known[name] for name in names) == digest:
            yield Original(folder, tuple(names), group=True)


def _unlisted_duplex(folder: Path, called: list[str], how: Duplex) -> Iterator[Original]:
    """List the duplex scans below a folder with a document's names, where it does not tell which files they had."""
    for around in sorted({path.parent for path in _walked(folder)}):
        pairs: defaultdict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for name in filter(is_source_name, _names(around)):
            side = how.side_of(Path(name).stem)
            if side and _NUMBER.sub("", shown(side.document)) in called:
                pairs[side.document][side.is_back].append(str(around.relative_to(folder) / name))
        for fronts, backs in pairs.values():
            yield from (Original(folder, files, group=True, duplex=True) for files in product(fronts, backs))


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _walked(folder: Path) -> Iterator[Path]:
    """Walk all files below a folder, in an order that never changes. Links are not followed."""
    for around, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(around, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _sources(folder: Path) -> dict[str, Path]:
    """List all files below a folder that are called like a scan, by their paths in it."""
    return {name: path for path in _walked(folder) if is_source_name(name := str(path.relative_to(folder)))}


def _digests(folder: Path, files: Mapping[str, Path]) -> dict[str, str]:
    """Return the digests of files below a folder, by the index in it, which is brought up to date."""
    before = _index(folder)
    known: dict[str, _Stamped] = {}
    for name, path in files.items():
        with suppress(OSError):
            status = path.lstat()
            stamp = (status.st_size, status.st_mtime_ns)
            held = before.get(name)
            digest = held[2] if held and held[:2] == stamp else _digest(Original(folder, (name,)))
            if digest:
                known[name] = (*stamp, digest)
    if known != before:
        with suppress(MachineError):  # an archive that may only be read is looked through anew each time
            write_own(folder / INDEX, json.dumps(known).encode(errors="surrogateescape"))
    return {name: digest for name, (_, _, digest) in known.items()}


def _index(folder: Path) -> dict[str, _Stamped]:
    """Read the index of a folder; nothing where there is none, or one that is damaged."""
    try:
        with regular(folder / INDEX) as held, held.open("rb") as file:
            raw = json.loads(file.read(_MOST).decode(errors="surrogateescape"))
        return {str(name): (int(size), int(time), str(digest)) for name, (size, time, digest) in raw.items()}
    except (OSError, NotRegularError, ValueError, TypeError, AttributeError):
        return {}


def _digest(original: Original) -> str | None:
    """Compute the digest that a document tells: of a file, or over those of a group's files in their order."""
    digests = []
    for name in original.files:
        if not name or ".." in Path(name).parts:
            return None
        try:
            with machine_faults("read", original.folder / name), opened_file(original.folder, name) as path:
                digests.append(_hashed(path))
        except DocumentError:
            return None
    return _together(digests) if original.group else digests[0]


def _together(digests: Iterable[str]) -> str:
    """Compute the digest of a group from those of its files, in their order."""
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
