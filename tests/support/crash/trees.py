"""What lies in the folders of a house, spelled so that two trees that a daemon takes alike are spelled alike.

What differs in every run and decides nothing has no part in it: the random ids of jobs stand as their rank, dates as
the order in which they appear, inodes as the first name that they have, the folders as their roles, also where a name
is made of theirs, as that of a probe. A stamp is spelled as what it is compared with, an attempt as whether there was
one (the limit is out of reach here), and a temporary file as its name and the file that it equals: no daemon reads it
but to compare it, and the next that wants the name deletes it first. Among the records, where nothing is compared and
all goes in the end, temporary files count for nothing.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ocrd.model import COMPANION, FileStamp
from ocrd.storage.job import Job, JobRecord

TEMPORARY = "/.ocrd-"
_ID = re.compile(rb"\d{8}T\d{6}-[0-9a-f]{6,10}")
_PROBE = re.compile(rb"(?<=/\.ocrd-probe-)[0-9a-f]{8}")
_DATE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
_FOLLOWS = re.compile(rb'\bseconds"?: [\d.e-]+|<!-- ocrd [0-9a-f]{16} -->')
"""The time that a reading took, and the checksum of a note, which its words and its date make."""


def fingerprint(places: Mapping[str, Path], inbox: Path) -> bytes:
    """Digest all that lies below these places, where the job folders are in the one called `work`."""
    text = b"\n".join(_entries(places, inbox))
    for name, place in places.items():
        text = text.replace(os.fsencode(place), name.encode())
    text = _PROBE.sub(b"of work", text)
    ranks = {found: b"job %d" % rank for rank, found in enumerate(sorted(set(_ID.findall(text))))}
    text = _ID.sub(lambda found: ranks[found[0]], text)
    dates: dict[bytes, bytes] = {}
    text = _DATE.sub(lambda found: dates.setdefault(found[0], b"date %d" % len(dates)), text)
    return hashlib.blake2b(_FOLLOWS.sub(b"", text), digest_size=16).digest()


def _entries(places: Mapping[str, Path], inbox: Path) -> Iterator[bytes]:
    """Spell each folder and file, those that are temporary last."""
    names: dict[tuple[int, int], str] = {}
    same: dict[bytes, str] = {}
    for temporary, spelled, path in sorted(_found(places)):
        if path.endswith("/"):
            yield os.fsencode(spelled)
            continue
        with open(path, "rb") as file:
            status, data = os.fstat(file.fileno()), file.read()
        if temporary:
            yield os.fsencode(f"{spelled} as {same.get(data)}")
            continue
        same.setdefault(data, spelled)
        yield os.fsencode(f"{spelled} {status.st_mode:o} {names.setdefault((status.st_dev, status.st_ino), spelled)}")
        yield _record(Path(path), inbox) if path.endswith("/job.json") else data


def _found(places: Mapping[str, Path]) -> Iterator[tuple[bool, str, str]]:
    """List whether it is temporary, its place and path there, and its path, for each; those of folders end in a slash.

    Without temporary files among the records.
    """
    for name, place in places.items():
        for folder, folders, files in os.walk(place):
            below = folder.removeprefix(str(place))
            for found in (*(f"{found}/" for found in folders), *files):
                spelled = f"{name}{below}/{found}"
                temporary = TEMPORARY in spelled
                if not (temporary and name == "work"):
                    yield temporary, spelled, f"{folder}/{found}"


def _record(path: Path, inbox: Path) -> bytes:
    raw = json.loads(path.read_bytes())
    raw["attempts"] = bool(raw["attempts"])
    stamp, members, companion = raw.pop("stamp"), raw.get("members", {}), raw.pop("companion", None)
    job = Job(path.parent, JobRecord.parse(path.read_bytes()))
    for ending, one in members.items():  # of a group
        members[ending] = _compared(one, inbox / job.record.dropped_as(ending), job.files[ending])
    beside = path.with_name(f"source{COMPANION}")
    if companion:
        raw["companion"] = _compared(companion, inbox / (raw["name"] + COMPANION), beside)
    if stamp:
        source = next((one for one in path.parent.glob("source*") if one != beside), path.with_name("source"))
        raw["stamp"] = _compared(stamp, inbox / raw["name"], source)
    return json.dumps(raw).encode()


def _compared(raw: Mapping[str, int], twin: Path, source: Path) -> list[bool | None]:
    """Spell a stamp as whether the file in the inbox has it, and whether the claimed one may; None if that is gone."""
    stamp, claimed = FileStamp(**raw), _stamp(source)
    return [stamp == _stamp(twin), claimed and (stamp.size, stamp.mtime_ns) == (claimed.size, claimed.mtime_ns)]


def _stamp(path: Path) -> FileStamp | None:
    try:
        return FileStamp.of(path.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return None
