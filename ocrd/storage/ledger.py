"""What was delivered, by the hash of its content: a small SQLite file in the work folder of each watch.

It is a convenience, never a source of loss: a document is delivered and archived whether or not it can be written here.
A damaged ledger is set aside, and a new one is made from the front matter of the sidecars that lie in the outbox.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import structlog

from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.model import Document
from ocrd.output import front_matter, kinds
from ocrd.storage.durable import NotAsSeenError, move_new, remove

log = structlog.get_logger("ocrd")

R = TypeVar("R")
NAME = "ledger.sqlite3"
_BUSY_SECONDS = 10.0
_HEAD = 1 << 18
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}  # the last: no such table or column
_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
  job TEXT PRIMARY KEY, date TEXT, source TEXT, sha256 TEXT, kind TEXT, sidecar TEXT, pages INTEGER, status TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_content ON entries (sha256, date);
CREATE INDEX IF NOT EXISTS by_date ON entries (date);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One document that came to its end."""

    job: str
    """The job's id; in a ledger made anew, the sidecar's name."""
    date: str
    """ISO 8601, with time zone."""
    source: str
    """The path that it was dropped under, relative to the inbox."""
    sha256: str
    """Of the source."""
    kind: str
    """`delivered`, or for a duplicate `skipped` or `linked`, or `reread` after a rerun of some pages."""
    sidecar: str
    """Relative to the outbox; for a skipped one, that of the earlier document."""
    pages: int
    """Pages of the source."""
    status: str
    """`complete`, `partial` or `duplicate`."""


class Ledger:
    """The ledger of one watch. Every method opens and closes the file, so that it may go away and come back."""

    def __init__(self, work: Path, outbox: Path) -> None:
        self._path = work / NAME
        self._outbox = outbox

    def record(self, entry: Entry) -> None:
        """Write an entry, in place of an earlier one of the same job. What can't be written is only logged."""

        def record(db: sqlite3.Connection) -> None:
            found = _found_as(entry.date, entry.sidecar)  # if the ledger was made just now, from the same sidecar, too
            db.execute("DELETE FROM entries WHERE job = ?", (shown(found),))
            _insert(db, entry)

        self._try(record)

    def earlier(self, sha256: str) -> Entry | None:
        """Find the last delivery of the same content."""
        question = "SELECT * FROM entries WHERE sha256 = ? AND kind = 'delivered' ORDER BY date DESC LIMIT 1"
        row = self._try(lambda db: db.execute(question, (sha256,)).fetchone())
        return Entry(*row) if row else None

    def entries(self) -> Iterator[Entry]:
        """Go through all entries by date, without changing anything. There are none where there is no ledger.

        Raises MachineError if it can't be read.
        """
        if not self._path.exists():
            return
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                for row in db.execute("SELECT * FROM entries ORDER BY date"):
                    yield Entry(*row)
        except sqlite3.Error as error:
            raise MachineError(
                f"The ledger {shown(self._path)} can't be read: {error}.",
                "If it is damaged, the daemon makes it anew from the sidecars with the next delivery.",
            ) from error

    def _try(self, step: Callable[[sqlite3.Connection], R]) -> R | None:
        for again in (False, True):
            try:
                return self._do(step)
            except sqlite3.Error as error:
                if not again and getattr(error, "sqlite_errorcode", None) in _DAMAGED and self._put_aside(error):
                    continue
                log.warning("the ledger can't be used", ledger=shown(self._path), reason=str(error))
                break
        return None

    def _do(self, step: Callable[[sqlite3.Connection], R]) -> R:
        fresh = not self._path.exists()
        with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as db, db:
            # Enough against a crash of ours; after a power loss the last entries may be missing, and nothing else.
            db.execute("PRAGMA synchronous = OFF")
            if fresh:
                db.executescript(_TABLE)
                for entry in self._from_sidecars():
                    _insert(db, entry)
            return step(db)

    def _put_aside(self, error: sqlite3.Error) -> bool:
        aside = self._path.with_name(f"{NAME}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        try:
            move_new(self._path, aside, tag="ledger")
            remove(self._path.with_name(f"{NAME}-journal"))  # or SQLite would mend the new one by it
        except (MachineError, FileExistsError, NotAsSeenError):
            return False
        log.warning("the ledger is damaged, and made anew from the sidecars", aside=shown(aside), reason=str(error))
        return True

    def _from_sidecars(self) -> Iterator[Entry]:
        for path in sorted(self._outbox.rglob(f"*{kinds.MARKDOWN.ending}")):
            try:
                with path.open("rb") as file:
                    facts = front_matter.facts_of(file.read(_HEAD))
            except OSError:
                continue  # collected meanwhile, or not for us
            if facts and len(set(str(facts.get("part", "1 of 1")).split(" of "))) == 1:  # of several parts the last
                name = str(path.relative_to(self._outbox))
                kind = "linked" if facts["status"] == "duplicate" else "delivered"
                job = _found_as(facts["date"], name)
                yield Entry(
                    job, facts["date"], facts["source"], facts["sha256"], kind, name, facts["pages"], facts["status"]
                )


def facts(document: Document) -> dict[str, str | int]:
    """Keep of a document what the ledger is to tell once it is delivered."""
    return {
        "date": document.date.isoformat(timespec="seconds"),
        "sha256": document.facts.sha256,
        "pages": document.facts.pages,
        "status": document.status,
    }


def _found_as(date: str, sidecar: str) -> str:
    """Make an id for an entry of which only the sidecar is known."""
    return f"{date} {sidecar}"


def _insert(db: sqlite3.Connection, entry: Entry) -> None:
    places = ", ".join("?" for _ in fields(entry))
    values = tuple(shown(value) if isinstance(value, str) else value for value in astuple(entry))  # SQLite takes UTF-8
    db.execute(f"INSERT OR REPLACE INTO entries VALUES ({places})", values)  # noqa: S608 - question marks
