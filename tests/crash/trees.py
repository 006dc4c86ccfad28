"""What lies in the folders of a house, spelled so that two trees that a daemon takes alike are spelled alike.

What differs in every run and decides nothing has no part in it: the random ids of jobs stand as their rank, dates as
the order in which they appear, inodes as the first name that they have. A stamp is spelled as what it is compared with,
an attempt as whether there was one (the limit is out of reach here), and a temporary file by its name alone: no daemon
reads it, and the next that wants the name deletes it first.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ocrd.model import FileStamp

TEMPORARY = "/.ocrd-"
_ID = re.compile(rb"\d{8}T\d{6}-[0-9a-f]{6}")
_DATE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
_FOLLOWS = re.compile(rb'\bseconds"?: [\d.e-]+|<!-- ocrd [0-9a-f]{16} -->')
"""The time that a reading took, and the checksum of a note, which its words and its date make."""


def fingerprint(places: Mapping[str, Path], inbox: Path) -> bytes:
    """Digest all that lies below these places, where the job folders are in the one called `work`."""
    entries = [entry for name, place in sorted(places.items()) for entry in _entries(name, place, inbox)]
    text = b"\n".join(entries)
    ranks = {found: b"job %d" % rank for rank, found in enumerate(sorted(set(_ID.findall(text))))}
    text = _ID.sub(lambda found: ranks[found[0]], text)
    dates: dict[bytes, bytes] = {}
    text = _DATE.sub(lambda found: dates.setdefault(found[0], b"date %d" % len(dates)), text)
    return hashlib.blake2b(_FOLLOWS.sub(b"", text), digest_size=16).digest()


def _entries(name: str, place: Path, inbox: Path) -> Iterator[bytes]:
    first: dict[int, str] = {}
    for folder, folders, files in os.walk(place):
        folders.sort()
        where = name + folder.removeprefix(str(place))
        for found in folders:
            yield os.fsencode(f"{where}/{found}/")
        for found in sorted(files):
            path, spelled = f"{folder}/{found}", f"{where}/{found}"
            if TEMPORARY in spelled:
                yield os.fsencode(spelled)
                continue
            status = os.lstat(path)
            known = first.setdefault(status.st_ino, spelled)
            yield os.fsencode(f"{spelled} {status.st_mode:o} {known}")
            yield _record(Path(path), inbox) if found == "job.json" else Path(path).read_bytes()


def _record(path: Path, inbox: Path) -> bytes:
    raw = json.loads(path.read_bytes())
    stamp = FileStamp(**raw.pop("stamp"))
    twin = _stamp(inbox / raw["name"])
    claimed = next((_stamp(source) for source in path.parent.glob("source*")), None)
    raw["attempts"] = bool(raw["attempts"])
    raw["stamp"] = [stamp == twin, claimed and (stamp.size, stamp.mtime_ns) == (claimed.size, claimed.mtime_ns)]
    return json.dumps(raw).encode()


def _stamp(path: Path) -> FileStamp | None:
    try:
        return FileStamp.of(path.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return None
