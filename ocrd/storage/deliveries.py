"""Documents that were delivered: which sidecar a name means, and what it says of itself.

A sidecar is a delivered file that tells of its document; which kinds do, the registry of output kinds says.
"""

import glob
import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError
from ocrd.filetypes import is_source_name
from ocrd.model import Verdict
from ocrd.output import kinds
from ocrd.storage import originals, ownership
from ocrd.storage.durable import copy_own
from ocrd.storage.ledger import Entry, Ledger
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.sidecar_walk import identity_at, sidecars

_MOST = 2**29
"""Bytes of a delivered text: one of thousands of pages with all its pictures is smaller."""


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

    The name is a path below outbox or inbox, or a whole path. A sidecar that somebody moved or renamed in its outbox is
    found by the digest of its document. Raises DocumentError if it fits none or several, MachineError.
    """
    watches = tuple(watches)
    names = [str(Path(name).absolute()), name] if Path(name).exists() else [name]
    found = next(filter(None, (_found(one, watches) for one in names)), [])
    if not found:
        found = _moved(name, watches)
    if not found:
        for watch in watches:
            _see_that_it_is_there(watch.outbox)
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


def _found(name: str, watches: Sequence[Watch]) -> list[Delivered]:
    return [delivered for watch in watches for delivered in _in_watch(name, watch) if _is_its_own(delivered, watches)]


def with_problems(watches: Iterable[Watch]) -> Iterator[Delivered]:
    """Find all delivered documents with pages that somebody should look at, watch by watch. Raises MachineError."""
    watches = tuple(watches)
    for watch in watches:
        _see_that_it_is_there(watch.outbox)
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


def _see_that_it_is_there(outbox: Path) -> None:
    """Raise MachineError if an outbox can't be looked into: then what lies in it is unknown, and not absent."""
    with machine_faults("look into", outbox):
        os.scandir(outbox).close()


def _is_its_own(delivered: Delivered, watches: Iterable[Watch]) -> bool:
    """Whether a sidecar may be of this watch: not if only others that share its outbox know it.

    A watch knows it by its ledger, for its place or, if it was moved, its content; where no ledger does, or several do,
    by its original.
    """
    path = delivered.watch.outbox / delivered.sidecar
    sharing = [
        replace(delivered, watch=watch, sidecar=str(path.relative_to(watch.outbox)))
        for watch in watches
        if path.is_relative_to(watch.outbox)
    ]
    if len(sharing) == 1:
        return True
    known = (
        [one for one in sharing if _in_ledger(one)] or [one for one in sharing if _content_in_ledger(one)] or sharing
    )
    if len(known) > 1:
        known = [one for one in known if originals.original(one.watch, one.facts, one.sidecar)] or known
    return delivered.watch in [one.watch for one in known]


def _in_ledger(delivered: Delivered) -> bool:
    """Whether its watch's ledger tells of this sidecar, or of a scan's last part for all of them."""
    part = re.fullmatch(r"(\d{1,5}) of (\d{1,5})", str(delivered.facts.get("part")))
    stem = delivered.stem.removesuffix(f"-{part[1]}") + f"-{part[2]}" if part else delivered.stem
    digest = delivered.facts.get("sha256")
    return any(
        _stem(entry.sidecar) == shown(stem) and digest in {None, entry.sha256} for entry in _entries(delivered.watch)
    )


def _content_in_ledger(delivered: Delivered) -> bool:
    """Whether its watch's ledger tells that the same content was delivered under the same name."""
    told = (delivered.facts.get("source"), delivered.facts.get("sha256"))
    return any((entry.source, entry.sha256) == told for entry in _entries(delivered.watch))


def _entries(watch: Watch) -> Iterator[Entry]:
    """Go through what a watch's ledgers tell of sidecars, of each of its daemons; one that is broken tells nothing."""
    for work in (*ownership.beside(watch), watch.work_folder):
        with suppress(MachineError):
            yield from (entry for entry in Ledger(work).entries() if entry.kind != "skipped")


def _stem(path: str) -> str:
    return str(Path(path).with_suffix(""))


def _in_watch(name: str, watch: Watch) -> Iterator[Delivered]:
    path = _below(name, watch)
    if path is None:
        return
    if not is_source_name(path.name):
        yield from _of_sidecars_name(watch, path)
        return
    folder = watch.outbox / path.parent
    like = re.compile(rf"{re.escape(path.stem)}(?: \(\d+\))?(?:-\d+)?")
    stems = {entry.stem for entry in folder.iterdir() if entry.suffix in kinds.SIDECARS} if folder.is_dir() else set()
    for found in sorted(filter(like.fullmatch, stems)):
        for delivered in _sidecar(watch, path.with_name(found)):
            if delivered.facts.get("source", str(path)) == shown(path):
                yield delivered


def _of_sidecars_name(watch: Watch, path: Path) -> Iterator[Delivered]:
    """Find the document that a sidecar's name means: with its ending that very file, if another one has the stem."""
    named = path.suffix in kinds.SIDECARS
    for delivered in _sidecar(watch, path.with_suffix("") if named else path):
        own = look(watch, str(path)) if named and (watch.outbox / path).is_file() else delivered
        is_another = own.facts.get("sha256", delivered.facts.get("sha256")) != delivered.facts.get("sha256")
        yield own if is_another else delivered


def _below(name: str, watch: Watch) -> Path | None:
    """Take a name, or a whole path, for a path below the watch's folders; None if it leads elsewhere."""
    path = Path(name)
    if path.is_absolute():
        homes = [home for home in (watch.outbox, watch.archive, watch.error, watch.inbox) if path.is_relative_to(home)]
        if not homes:
            return None
        path = path.relative_to(homes[0])
    return None if ".." in path.parts or not path.name else path


def _moved(name: str, watches: Sequence[Watch]) -> list[Delivered]:
    """Find sidecars that are not where they were delivered.

    They are of a file with the digest of the one that `name` is, or of the one that was delivered so called; where
    nothing was, those that are so called themselves, or whose source is, whatever folder they lie in.
    """
    named = {watch.name: path for watch in watches if (path := _below(name, watch))}
    paths = [Path(name), *(watch.archive / named[watch.name] for watch in watches if watch.name in named)]
    digests = {originals.digest_of(path) for path in paths if is_source_name(path.name)} - {None}
    for watch in watches:
        path = named.get(watch.name, Path())
        stem = shown(path.with_suffix("") if path.suffix in kinds.SIDECARS else path)
        digests |= {
            entry.sha256 for entry in _entries(watch) if entry.source == shown(path) or _stem(entry.sidecar) == stem
        }
    found = [
        delivered
        for watch in watches
        for delivered in _everything(watch)
        if (delivered.facts.get("sha256") in digests if digests else _is_called(delivered, named.get(watch.name)))
    ]
    if not found:
        found = [delivered for watch in watches for delivered in _known_by_ledger(watch, digests)]
    found = [look(one.watch, one.sidecar) for one in found]  # so far only some of its facts were read
    found = [one for one in found if _is_its_own(one, watches)]
    if digests:  # of several with the same content, those whose name is the same, and that the ledger does not place
        found = [one for one in found if _is_called(one, named.get(one.watch.name))] or found
        found = [one for one in found if not _in_ledger(one)] or found
    return found


def _known_by_ledger(watch: Watch, digests: Container[object]) -> Iterator[Delivered]:
    """Go through the moved sidecars without front matter whose document has one of these digests.

    Only the ledger tells whose such a sidecar is, and only as long as its name is the same. Raises MachineError.
    """
    for name in sorted({Path(entry.sidecar).name for entry in _entries(watch) if entry.sha256 in digests}):
        for place in _so_called(watch, name):
            with suppress(DocumentError):
                delivered = look(watch, place)
                if delivered.facts.get("sha256") in digests:
                    yield delivered


def _so_called(watch: Watch, name: str) -> list[str]:
    """List the places below an outbox, in whatever folder, where a file has a name. Raises MachineError."""
    with machine_faults("look into", watch.outbox):
        return sorted(str(path.relative_to(watch.outbox)) for path in watch.outbox.rglob(glob.escape(name)))


def _is_called(delivered: Delivered, path: Path | None) -> bool:
    """Whether a sidecar or its source has a name, in whatever folder; if there is a folder in it, in that one."""
    if path is None:
        return False
    names = [delivered.source, shown(delivered.sidecar), shown(delivered.stem)]
    return shown(path) in (names if len(path.parts) > 1 else [Path(one).name for one in names])


def _everything(watch: Watch) -> Iterator[Delivered]:
    """Go through all sidecars below an outbox: Markdown, and JSON where that stands alone. Raises MachineError."""
    for place in sidecars(watch.outbox, ()) if watch.outbox.is_dir() else ():
        if facts := identity_at(watch.outbox, place):
            yield Delivered(watch, "/".join(place), facts)
    for path in sorted(watch.outbox.rglob(f"*{kinds.JSON.ending}")):
        name = str(path.relative_to(watch.outbox))
        with suppress(DocumentError):
            if not path.with_suffix(kinds.MARKDOWN.ending).exists():
                yield Delivered(watch, name, facts_in(name, read(watch.outbox, name)))


def _sidecar(watch: Watch, stem: Path) -> Iterator[Delivered]:
    for ending in kinds.SIDECARS:
        name = f"{stem}{ending}"
        if (watch.outbox / name).is_file():
            yield look(watch, name)
            return


def look(watch: Watch, sidecar: str) -> Delivered:
    """Read what a sidecar says of itself; where it says nothing, as Markdown without front matter, one beside it may.

    Failing that the ledger does. Raises DocumentError if it is not there, or is no UTF-8; MachineError.
    """
    data = read(watch.outbox, sidecar)
    check_text(sidecar, data)
    delivered = Delivered(watch, sidecar, facts_in(sidecar, data))
    for ending in kinds.SIDECARS:
        beside = delivered.stem + ending
        if not delivered.facts and beside != sidecar and (watch.outbox / beside).is_file():
            delivered = replace(delivered, facts=facts_in(beside, read(watch.outbox, beside)))
    return delivered if delivered.facts else replace(delivered, facts=_facts_in_ledger(delivered))


def _facts_in_ledger(delivered: Delivered) -> dict[str, Any]:
    """Return what the ledger tells of a sidecar, or of the only one of its name that is not in its place any more."""
    outbox, stem = delivered.watch.outbox, shown(delivered.stem)
    entries = {_stem(entry.sidecar): entry for entry in _entries(delivered.watch)}  # the last one counts
    moved = [
        entry
        for place, entry in entries.items()
        if Path(place).name == Path(stem).name and not (outbox / entry.sidecar).exists()
    ]
    found = entries.get(stem) or (moved[0] if len(moved) == 1 else None)
    return {key: getattr(found, key) for key in ("source", "sha256", "pages", "status", "date")} if found else {}


def check_text(name: str, data: bytes) -> None:
    """Raise DocumentError if a delivered text is no UTF-8 any more, as some editors save it."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        utf_16 = data[:2] in {b"\xff\xfe", b"\xfe\xff"}
        how = "was saved as UTF-16" if utf_16 else f"is not UTF-8 ({error.reason})"
        raise DocumentError(f"{shown(name)} {how}, and can't be read.", "Save it as UTF-8 again.") from error


def still_there(watch: Watch, entry: Entry) -> str | None:
    """Say where the sidecar of an earlier delivery lies below the outbox, of several parts the last one's.

    One that was moved or renamed is found by what it says of itself. None if it was deleted, or says nothing. Raises
    MachineError.
    """
    if (watch.outbox / entry.sidecar).exists():
        return entry.sidecar
    for delivered in _everything(watch):
        facts = delivered.facts
        is_last = len(set(str(facts.get("part", "1 of 1")).split(" of "))) == 1
        if facts.get("sha256") == entry.sha256 and facts.get("status") != "duplicate" and is_last:
            return delivered.sidecar
    return None


def moved_to(watch: Watch, sidecar: str, source: str, sha256: str, pages: Iterable[int]) -> str | None:
    """Say where a sidecar with these pages of a document lies below the outbox, after somebody moved or renamed it.

    One that lies where something was delivered is another document, such as a second one of the same scan. None if none
    is found, or several are. Raises MachineError.
    """
    deliveries = {_stem(entry.sidecar) for entry in _entries(watch) if entry.kind != "reread"}
    so_read = [one.sidecar for one in _everything(watch) if one.facts.get("sha256") == sha256]
    found = []
    for place in sorted({*_so_called(watch, Path(sidecar).name), *so_read}):
        if _stem(shown(place)) in deliveries:
            continue
        with suppress(DocumentError):  # it is gone again, or does not tell
            one = look(watch, place)
            if (one.source, one.facts.get("sha256")) == (source, sha256) and {*pages} <= {*numbers(one)}:
                found.append(place)
    return found[0] if len(found) == 1 else None


def parts(watch: Watch, sidecar: str) -> list[str]:
    """List the sidecars of all parts of a scan by the last one, as far as that says of itself which one it is.

    One that was renamed since, in the same folder, is found by what it says of itself. Raises MachineError.
    """
    with suppress(DocumentError):  # collected meanwhile
        last = look(watch, sidecar)
        count = re.fullmatch(r"(\d{1,5}) of \1", str(last.facts.get("part")))
        if count:
            stem = sidecar.removesuffix(f"-{count[1]}{last.ending}")
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
    found = sorted(set(sidecar.pages(read(delivered.watch.outbox, delivered.sidecar)))) if sidecar else []
    by_count = delivered.ending == kinds.TEXT.ending  # it numbers no page, so it must have all of them
    if sidecar is None or (by_count and len(found) != delivered.facts.get("pages")):
        remedy = "Name the Markdown or the JSON beside it, or drop the scan again."
        raise DocumentError(f"{shown(delivered.sidecar)} does not say which pages of the scan it has.", remedy)
    return found


def problems(delivered: Delivered) -> list[int]:
    """List the pages that a document says somebody should look at, from 1 in the source."""
    listed, pages = delivered.facts.get("problems"), delivered.facts.get("pages")
    if not isinstance(listed, list):  # JSON has it at each page
        listed = [page for page in pages if not _is_sound(page)] if isinstance(pages, list) else []
    numbers = {page.get("page") for page in listed if isinstance(page, dict)}
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
    with machine_faults("read", folder / name), originals.opened_file(folder, name) as opened:
        if opened.stat().st_size > _MOST:
            raise DocumentError(
                f"{shown(folder / name)} is larger than any file that ocrd reads again ({_MOST >> 20} MiB).",
                "Is it another's? Then move it away.",
            )
        with opened.open("rb") as file:
            return file.read(_MOST)


def copy(folder: Path, name: str, target: Path) -> None:
    """Copy a file below a shared folder to one of ours. Raises as `read`."""
    with machine_faults("read", folder / name), originals.opened_file(folder, name) as opened:
        copy_own(opened, target)
