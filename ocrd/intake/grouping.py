"""Which files of an inbox belong together: images that become one document. Pure.

A group changes when any of its files does, or one comes or goes; so its quiet time counts from the newest.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath

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

Place = tuple[Path, str]
"""Where a file belongs: the path of its group, and its ending."""


def units(
    inbox: Path,
    how: Join,
    files: Mapping[Path, FileStamp],
    coming: Mapping[Path, tuple[Path, FileStamp]],
    companions: Mapping[Path, FileStamp],
) -> dict[Path, FileStamp | Group]:
    """Sort what lies in an inbox into single files, by path with stamp, and groups.

    `how` is `none`, `subfolder` (the images in each folder below the inbox) or `sequence` (images of one folder whose
    names differ in a number at the end, but for dates and cameras' names; one alone is a single file). `coming` holds
    temporary files, each with the path that it will have; `companions` are by the path of what they are named for.
    """
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
    for path in found.keys() & companions.keys():
        found[path] = replace(Settled(path, found[path]).group, companion=companions[path])
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
