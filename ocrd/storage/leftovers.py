"""What lies about in the folders of a watch once it has served: what reruns kept, old crops, notes without a source.

Nothing here changes anything. A file counts as ours only by what is in it, or in what lies beside it.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from ocrd.config.watch import Watch
from ocrd.errors import DocumentError
from ocrd.filetypes import is_source_name
from ocrd.output import front_matter, kinds
from ocrd.output.result_names import ASSETS
from ocrd.storage import deliveries, notes
from ocrd.storage.os_errors import machine_faults

_BAK = re.compile(r"(?P<stem>.+?)(?P<ending>\.[a-z]+)(?: \(\d+\))?\.bak")
_CROP = re.compile(r"page-(\d{1,7})-(?:[\w-]+-)?figure-\d+\.jpg")
_LINK = re.compile(rf"(?:(?P<stem>[^\s/()\"]+){re.escape(ASSETS)}/)?(?P<crop>{_CROP.pattern})")
_SHOWING = {kind.ending for kind in kinds.ALL if kind.figures == "linked"}
"""Endings of texts that show pictures by links, or tell their names."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that nobody needs for what was delivered."""

    watch: Watch
    """Whose it is."""
    role: str
    """`outbox` or `error`: which of its folders it lies in."""
    name: str
    """Its path below that."""
    why: str
    """What it is, for a person."""

    @property
    def folder(self) -> Path:
        """The folder that it lies in or below."""
        return self.watch.folders[self.role]

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / self.name


def of(watch: Watch) -> Iterator[Leftover]:
    """List what lies about in a watch's outbox and error folder."""
    for folder, names in _folders(watch.outbox):
        around = os.path.relpath(folder, watch.outbox)
        for name in names:
            if (found := _BAK.fullmatch(name)) and _is_of_ours(watch, Path(around, found["stem"]), name):
                yield Leftover(watch, "outbox", str(Path(around, name)), f"as {found['stem']}{found['ending']} was")
        assets = [path for path in sorted(folder.glob(f"*{ASSETS}")) if _crops(path)]
        mentions = _mentions(folder, [name for name in names if not _BAK.fullmatch(name)]) if assets else set()
        for path in assets:
            for crop in _crops(path):
                if not _is_shown(path.name.removesuffix(ASSETS), crop, mentions):
                    name = str(Path(around, path.name, crop))
                    yield Leftover(watch, "outbox", name, "a picture that no text shows any more")
    for folder, names in _folders(watch.error):
        for name in names:
            path = folder / name
            if name.endswith(notes.SUFFIX) and not _has_source(path) and front_matter.is_own_note(_read(path)):
                why = "a note without the file that it is about"
                yield Leftover(watch, "error", str(path.relative_to(watch.error)), why)


def baks(outbox: Path, name: str) -> list[Path]:
    """List what reruns kept of a file: NAME.bak, NAME (2).bak and so on."""
    path = outbox / name
    like = re.compile(rf"{re.escape(path.name)}(?: \(\d+\))?\.bak")
    return [path.with_name(one) for one in _names(path.parent) if like.fullmatch(one)]


def unshown_crops(outbox: Path, stem: str) -> list[str]:
    """List the pictures of a document, below the outbox, that no text of its name shows, nor what reruns kept of it."""
    folder, name = (outbox / stem).parent, Path(stem).name
    crops = _crops(folder / f"{name}{ASSETS}")
    shown = _mentions(folder, [one for one in _names(folder) if one.startswith(name)]) if crops else set()
    return [f"{stem}{ASSETS}/{crop}" for crop in crops if not _is_shown(name, crop, shown)]


def _crops(folder: Path) -> list[str]:
    with machine_faults("look at", folder):
        if folder.is_symlink():
            return []
    return [name for name in _names(folder) if _CROP.fullmatch(name)]


def _mentions(folder: Path, names: Iterable[str]) -> set[tuple[str, str]]:
    """List the pictures that texts of these names show, each with the stem of its folder, or of the JSON that says so.

    What reruns kept counts if it is among the names.
    """
    found = set()
    for name in names:
        base = _BAK.fullmatch(name)
        stem, ending = (base["stem"], base["ending"]) if base else os.path.splitext(name)
        if ending in _SHOWING:
            text = _read(folder / name).decode(errors="surrogateescape")
            found |= {
                (unquote(link["stem"] or stem, errors="surrogateescape"), link["crop"]) for link in _LINK.finditer(text)
            }
    return found


def _is_shown(stem: str, crop: str, mentions: set[tuple[str, str]]) -> bool:
    """Whether it is among these; of a scan that was taken apart, all parts have their pictures in one folder."""
    return any(one.startswith(stem) for one, name in mentions if name == crop)


def page_of_crop(crop: str) -> int:
    """Tell from which page of the source a picture is, from 1; 0 if its name does not say."""
    found = _CROP.fullmatch(Path(crop).name)
    return int(found[1]) if found else 0


def _is_of_ours(watch: Watch, stem: Path, bak: str) -> bool:
    """Whether what a rerun kept, or what lies beside it, says of which document it is."""
    around = stem.parent
    names = [stem.name + ending for ending in kinds.SIDECARS]
    for name in (*names, *(path.name for one in names for path in baks(watch.outbox, str(around / one))), bak):
        base = _BAK.fullmatch(name)
        with suppress(DocumentError):
            data = _read(watch.outbox / around / name)
            if deliveries.facts_in(base["stem"] + base["ending"] if base else name, data):
                return True
    return False


def _has_source(note: Path) -> bool:
    source = note.with_name(note.name.removesuffix(notes.SUFFIX))
    if os.path.lexists(source):
        return True
    if is_source_name(source.name):
        return False
    # of a group: it is called as its files are up to their numbers
    return any(name.startswith(source.name) and is_source_name(name) for name in _names(note.parent))


def _folders(root: Path) -> Iterator[tuple[Path, Iterable[str]]]:
    """Walk a folder and those below it, with the names of the plain files in each. Links are not followed."""
    for around, folders, names in os.walk(root):
        folders.sort()
        plain = (name for name in sorted(names) if not Path(around, name).is_symlink())
        yield Path(around), [name for name in plain if Path(around, name).is_file()]


def _names(folder: Path) -> list[str]:
    """List what is in a folder; nothing if there is none. Raises MachineError: what can't be seen is not unneeded."""
    with machine_faults("list", folder):
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []


def _read(path: Path) -> bytes:
    try:
        return deliveries.read(path.parent, path.name)
    except DocumentError:
        return b""
