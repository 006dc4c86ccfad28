"""What was delivered, by the hash of its content: a small SQLite file in the work folder of each watch.

It is a convenience, never a source of loss: a document is delivered and archived whether or not it can be written here.
A damaged ledger is set aside, and one that is lost or damaged is made anew from the front matter of the sidecars in the
outbox: some at a time, beside the work, and from where it was if it breaks off. Until all are in it the ledger is not
whole: what it does not know yet may have been delivered all the same.
"""

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import structlog

from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.model import Document
from ocrd.storage.durable import move_new, remove
from ocrd.storage.renames import NotAsSeenError
from ocrd.storage.sidecar_walk import Place, identity_at, sidecars

log = structlog.get_logger("ocrd")

R = TypeVar("R")
NAME = "ledger.sqlite3"
_BUSY_SECONDS = 2.0
_MOST_UNWRITTEN = 100_000
_AT_ONCE = 2000
"""Sidecars that are read between two transactions of a rebuild: two tenths of a second."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}  # the last: no such table or column
_MOST_PAGES = 2**31
_NEW = """
BEGIN;
CREATE TABLE entries (
  job TEXT PRIMARY KEY, date TEXT, source TEXT, sha256 TEXT, kind TEXT, sidecar TEXT, pages INTEGER, status TEXT
) WITHOUT ROWID;
CREATE TABLE rebuild (place BLOB);
INSERT INTO rebuild VALUES (x'');
COMMIT;
"""
_ALWAYS = """
CREATE INDEX IF NOT EXISTS by_date_and_sidecar ON entries (date, sidecar);
CREATE INDEX IF NOT EXISTS delivered_by_content ON entries (sha256, date) WHERE kind = 'delivered';
DROP INDEX IF EXISTS by_content;
DROP INDEX IF EXISTS by_date;
CREATE TABLE IF NOT EXISTS rebuild (place BLOB);
"""
"""Ledgers of earlier versions have other indexes, and no table of a rebuild: its one row is there while one goes on."""
LAST_DELIVERY = "SELECT * FROM entries WHERE sha256 = ? AND kind = 'delivered' ORDER BY date DESC, job DESC LIMIT 1"


class NotKnownYetError(Exception):
    """The ledger is being rebuilt, and what was looked up is not in it so far."""


class UnusableError(Exception):
    """The ledger can't be read or written now; the log says why."""


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


_COLUMNS = [field.name for field in fields(Entry)]
_columns = attrgetter(*_COLUMNS)


class Ledger:
    """The ledger of one watch. Every method opens and closes the file, so that it may go away and come back.

    The one who writes holds a lock, and writes for all who wait for it. For many threads of one process: that which
    has the work folder.
    """

    def __init__(self, work: Path) -> None:
        self._path = work / NAME
        self._writer = threading.Lock()
        self._unwritten: deque[Entry] = deque()
        self._walk: tuple[Place, Iterator[Place]] | None = None
        """What a rebuild has still to enter, and the place that it stands behind."""
        self._seen_whole = False

    @property
    def at_rest(self) -> bool:
        """Whether nothing waits to be written, and no rebuild is needed as far as is known without looking."""
        return self._seen_whole and not self._unwritten

    def record(self, entry: Entry) -> None:
        """Write an entry, in place of an earlier one of the same job.

        What can't be written now is logged, and written with what comes next.
        """
        if len(self._unwritten) < _MOST_UNWRITTEN:
            self._unwritten.append(entry)
        with suppress(UnusableError):
            self._use(lambda _: None)

    def earlier(self, sha256: str) -> Entry | None:
        """Find the last delivery of the same content. None if there is none, or the ledger can't be used.

        Raises NotKnownYetError.
        """

        def find(db: sqlite3.Connection) -> Entry | None:
            row = db.execute(LAST_DELIVERY, (sha256,)).fetchone()
            if row is None and _reached(db) is not None:
                raise NotKnownYetError
            return Entry(*row) if row else None

        try:
            return self._use(find)
        except UnusableError:
            return None

    def rebuild_some(self, outbox: Path, check: Callable[[Path], None]) -> bool:
        """Enter some more of the sidecars in the outbox, if the ledger is not whole; return whether it is now.

        `check` raises MachineError if the outbox is not what it was, so that nothing is taken for all there is. One
        caller at a time. Raises UnusableError, MachineError.
        """
        reached = self._use(_reached)
        if reached is None:
            self._walk = None
            self._seen_whole = True
            return True
        places = self._next_places(outbox, reached)
        found = [entry for place in places if (entry := _entry_of(outbox, place))]
        check(outbox)
        self._use(lambda db: _enter(db, found, reached, places[-1] if places else None))
        return not places

    def _next_places(self, outbox: Path, reached: Place) -> list[Place]:
        """Go on with the walk, or begin it anew if it does not stand where the ledger is."""
        walked, walk = self._walk or (None, iter(()))
        if walked != reached:
            walk = sidecars(outbox, reached)
        self._walk = None  # an error ends it
        places = list(islice(walk, _AT_ONCE))
        self._walk = (places[-1], walk) if places else None
        return places

    def entries(self) -> Iterator[Entry]:
        """Go through all entries in their order, without changing anything. There are none where there is no ledger.

        Raises MachineError if it can't be read.
        """
        with self._read_only() as db:
            for row in db.execute("SELECT * FROM entries ORDER BY date, job") if db else ():
                yield Entry(*row)

    def told(self, sha256: str) -> Entry | None:
        """Find the last delivery of the same content in another daemon's ledger, as far as it can be read now."""
        with suppress(OSError, MachineError, sqlite3.Error), self._read_only() as db:
            row = db.execute(LAST_DELIVERY, (sha256,)).fetchone() if db else None
            return Entry(*row) if row else None
        return None

    def is_whole(self) -> bool:
        """Whether no rebuild goes on; as `entries`, without changing anything. Raises MachineError."""
        with self._read_only() as db:
            return db is None or _reached(db) is None

    @contextmanager
    def _read_only(self) -> Iterator[sqlite3.Connection | None]:
        if not self._path.exists():
            yield None
            return
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                yield db
        except sqlite3.Error as error:
            raise MachineError(
                f"The ledger {shown(self._path)} can't be read: {error}.",
                "If it is damaged, the daemon makes it anew from the sidecars.",
            ) from error

    def _use(self, step: Callable[[sqlite3.Connection], R]) -> R:
        """Write what waits, then take a step. Raises UnusableError."""
        if not self._writer.acquire(timeout=_BUSY_SECONDS):
            raise self._unusable("other threads have waited for it too long")
        try:
            return self._do(step)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) not in _DAMAGED or not self._put_aside(error):
                raise self._unusable(str(error)) from error
            try:
                return self._do(step)
            except sqlite3.Error as again:
                raise self._unusable(str(again)) from again
        finally:
            self._writer.release()

    def _unusable(self, reason: str) -> UnusableError:
        log.warning("the ledger can't be used", ledger=shown(self._path), reason=reason)
        return UnusableError(reason)

    def _do(self, step: Callable[[sqlite3.Connection], R]) -> R:
        fresh = not self._path.exists()
        with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as db:
            # Enough against a crash of ours; after a power loss the last entries may be missing, and nothing else.
            db.execute("PRAGMA synchronous = OFF")
            if fresh:
                self._seen_whole = False
                db.executescript(_NEW)
            db.executescript(_ALWAYS)
            waiting = list(self._unwritten)
            with db:
                for entry in waiting:
                    _record(db, entry)
            for _ in waiting:
                self._unwritten.popleft()
            with db:
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


def facts(document: Document) -> dict[str, str | int]:
    """Keep of a document what the ledger is to tell once it is delivered."""
    return {
        "date": document.date.isoformat(timespec="seconds"),
        "sha256": document.facts.sha256,
        "pages": document.facts.pages,
        "status": document.status,
    }


def _record(db: sqlite3.Connection, entry: Entry) -> None:
    found = _found_as(entry.date, entry.sidecar)  # a rebuild may have come by the same sidecar already
    db.execute("DELETE FROM entries WHERE job = ? AND kind = ?", (shown(found), entry.kind))
    places = ", ".join("?" for _ in fields(entry))
    db.execute(f"INSERT OR REPLACE INTO entries VALUES ({places})", _values(entry))  # noqa: S608 - question marks


def _enter(db: sqlite3.Connection, found: list[Entry], reached: Place, last: Place | None) -> None:
    """Enter what was found behind a place, up to the `last` one; without one, nothing is left, and all is whole."""
    if _reached(db) != reached:  # it was made anew meanwhile
        return
    db.executemany(
        "INSERT OR REPLACE INTO entries SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE"
        " NOT EXISTS (SELECT 1 FROM entries WHERE date = ?2 AND sidecar = ?6 AND kind = ?5)",  # by a job, meanwhile
        map(_values, found),
    )
    db.execute("DELETE FROM rebuild")
    if last:
        db.execute("INSERT INTO rebuild VALUES (?)", (os.fsencode("/".join(last)),))


def _reached(db: sqlite3.Connection) -> Place | None:
    """Tell behind which place a rebuild goes on; None if the ledger is whole."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'rebuild'").fetchone():
        return None
    row = db.execute("SELECT place FROM rebuild").fetchone()
    return row and tuple(filter(None, os.fsdecode(row[0]).split("/")))


def _entry_of(outbox: Path, place: Place) -> Entry | None:
    """Make an entry of a sidecar; None if it says nothing of a document, or is not the last of several parts."""
    facts = identity_at(outbox, place)
    if not facts or facts["pages"] > _MOST_PAGES or len(set(str(facts.get("part", "1 of 1")).split(" of "))) > 1:
        return None
    name = "/".join(place)
    kind = "linked" if facts["status"] == "duplicate" else "delivered"
    known: dict[str, Any] = {key: facts[key] for key in ("date", "source", "sha256", "pages", "status")}
    return Entry(job=_found_as(facts["date"], name), kind=kind, sidecar=name, **known)


def _found_as(date: str, sidecar: str) -> str:
    """Make an id for an entry of which only the sidecar is known."""
    return f"{date} {sidecar}"


def _values(entry: Entry) -> tuple[str | int, ...]:
    """Return its columns as SQLite takes them: text that is no UTF-8 is spelled out."""
    return tuple(shown(value) if isinstance(value, str) else value for value in _columns(entry))
