"""Which files of an inbox belong together: those that become one document. Pure.

A group changes when any of its files does, or one comes or goes; so its quiet time counts from the newest.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath

from ocrd.config.duplex import Duplex
from ocrd.display import shown
from ocrd.filetypes import IMAGE_SUFFIXES, in_order
from ocrd.model import FileStamp, Group, Join, Settled

_NUMBERED = re.compile(
    r"(?P<stem>.*[^-_ (])(?P<number>[-_ ][0-9]{1,9}| ?\([0-9]{1,9}\))"  # scan-1, page (1)
    r"|(?P<word>.*[^\W\d_])(?P<digits>[0-9]{1,9})"  # gap1
)
_DATE = r"(19|20)\d\d[-_. ]?(0[1-9]|1[0-2])[-_. ]?(0[1-9]|[12]\d|3[01])"
_NO_SEQUENCE = re.compile(
    rf"(.*\D)?{_DATE}([-_ T](at )?\d\d[-_.h]?\d\d([-_.]?\d\d)?)?"  # a date, and perhaps a time
    r"|(IMG|DSC[NF]?|PXL|MVIMG|P)[-_]?\d{3,}",  # as cameras count all that they ever take
    re.IGNORECASE,
)

Coming = Mapping[Path, tuple[Path, FileStamp]]
"""Temporary files, each with the path that it will have."""
Place = tuple[Path, str]
"""Where a file belongs: the path of its group, and its ending."""


def units(
    inbox: Path,
    how: Join | Duplex,
    files: Mapping[Path, FileStamp],
    coming: Coming,
    companions: Mapping[Path, FileStamp],
) -> dict[Path, FileStamp | Group]:
    """Sort what lies in an inbox into single files, by path with stamp, and groups.

    `how` is `none`, `subfolder` (the images in each folder below the inbox), `sequence` (images of one folder whose
    names differ in a number at the end, but for dates and cameras' names; one alone is a single file); or the settings
    for two files that are fronts and backs, of which one alone is a group that lacks the other. `coming` holds
    temporary files, each with the path that it will have; `companions` are by the path of what they are named for.
    """
    found = _duplex(how, files, coming) if isinstance(how, Duplex) else _images(inbox, how, files, coming)
    for path in found.keys() & companions.keys():
        found[path] = replace(Settled(path, found[path]).group, companion=companions[path])
    return found


def _images(inbox: Path, how: Join, files: Mapping[Path, FileStamp], coming: Coming) -> dict[Path, FileStamp | Group]:
    found: dict[Path, FileStamp | Group] = {}
    groups: dict[Path, Group] = {}
    for path in sorted(files, key=lambda path: in_order(path.name)):
        if place := _place(inbox, how, path):
            groups.setdefault(place[0], Group({})).members[place[1]] = files[path]
        else:
            found[path] = files[path]
    for temporary, (path, stamp) in coming.items():
        place = _place(inbox, how, path)
        if place and place[0] in groups:
            groups[place[0]].coming[temporary.name] = stamp
    for path, group in groups.items():
        if how == "sequence" and len(group.members) + len(group.coming) == 1:
            [(ending, stamp)] = group.members.items()
            found[Path(f"{path}{ending}")] = stamp
        else:
            found[path] = group
    return found


def _place(inbox: Path, how: Join, path: Path) -> Place | None:
    if how == "none" or path.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    if how == "subfolder":
        return (path.parent, f"/{path.name}") if path.parent != inbox else None
    name = PurePath(path.name).stem
    numbered = None if _NO_SEQUENCE.fullmatch(name) else _NUMBERED.fullmatch(name)
    if numbered is None:
        return None
    stem = numbered["stem"] or numbered["word"]
    return path.with_name(stem), path.name.removeprefix(stem)


def _duplex(how: Duplex, files: Mapping[Path, FileStamp], coming: Coming) -> dict[Path, FileStamp | Group]:
    """Find the two files of each scan: first by their names, then, if wanted, by when they were written."""
    found: dict[Path, FileStamp | Group] = {}
    sides: defaultdict[Path, list[tuple[bool, Path]]] = defaultdict(list)
    rows: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in files:
        if side := how.side_of(path.stem):
            sides[path.with_name(side.document)].append((side.is_back, path))
        elif how.pairs == "in_a_row":
            rows[path.parent].append(path)
        else:
            found[path] = files[path]
    for document, there in sides.items():
        if sorted(is_back for is_back, _ in there) == [False, True]:
            members = {path.name.removeprefix(document.name): files[path] for _, path in sorted(there)}
            found[document] = Group(members, duplex=True)
        else:
            found |= {path: _alone(path, files, coming, _lacking(document, there, how)) for _, path in there}
    for row in rows.values():
        for pair in _in_a_row(row, files, how.wait):
            first = pair[0]
            if len(pair) == 1:
                found[first] = _alone(first, files, coming, "the file with the other sides of its sheets is not there")
                continue
            document = first.with_suffix("")
            document = first if document in found else document  # as of another pair, whose first ends in .tif
            ends = (how.fronts[1:], how.backs[1:])
            names = {f"{end}{path.suffix}": path.name for end, path in zip(ends, pair, strict=True)}
            members = dict(zip(names, (files[path] for path in pair), strict=True))
            found[document] = Group(members, duplex=True, names=names)
    return found


def _in_a_row(row: list[Path], files: Mapping[Path, FileStamp], wait: float) -> Iterator[list[Path]]:
    """Divide the files of a folder into pairs of which one was written soon after the other, and single ones."""
    row = sorted(row, key=lambda path: (files[path].mtime_ns, in_order(path.name)))
    while row:
        is_pair = len(row) > 1 and files[row[1]].mtime_ns - files[row[0]].mtime_ns <= wait * 1e9
        count = 2 if is_pair else 1
        yield row[:count]
        row = row[count:]


def _alone(path: Path, files: Mapping[Path, FileStamp], coming: Coming, lacks: str) -> Group:
    """Make a group of one side, which changes as long as anything else is on its way to the folder."""
    others = {temporary.name: stamp for temporary, (final, stamp) in coming.items() if final.parent == path.parent}
    return Group({"": files[path]}, others, lacks=lacks)


def _lacking(document: Path, there: list[tuple[bool, Path]], how: Duplex) -> str:
    """Say in words what keeps files that are called one side of a scan from being a pair."""
    backs = sum(is_back for is_back, _ in there)
    if len(there) == 1:
        wanted = (how.fronts if backs else how.backs).replace("*", document.name)
        return f"the {'fronts' if backs else 'backs'}, {shown(wanted)}, are not there"
    names = ", ".join(shown(path.name) for _, path in sorted(there))
    return f"these are not one file of fronts and one of backs: {names}"
