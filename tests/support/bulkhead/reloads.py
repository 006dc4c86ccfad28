"""One configuration after the other, as people write them: valid, wrong, half written; while scans come and go."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import yaml
from simulated import SimulatedEngine

from bulkhead.calls import unseen
from bulkhead.daemon import SOON, Lodgers, until
from ocrd.config import loader

PLACES = ("p0", "p1", "p2", "p3")
"""Folders in which inboxes, outboxes, archives and error folders are."""
STEPS = 8
"""Things that happen, at most, before the last configuration."""
ENOUGH = 3
"""Failures after which no more sequences are tried: each waits for what does not happen."""

Watch = dict[str, str]


@dataclass
class Tally:
    """What was tried, and what did not hold."""

    sequences: int = 0
    reloads: int = 0
    refused: int = 0
    """Of these, those that brought a wrong configuration."""
    sources: int = 0
    failures: list[str] = field(default_factory=list)


class Sequence:
    """One daemon with its configurations."""

    def __init__(self, lodgers: Lodgers, chance: random.Random, tally: Tally) -> None:
        self._lodgers = lodgers
        self._chance = chance
        self._tally = tally
        self._file = lodgers.root / "ocrd.yaml"
        self._watches: list[Watch] = []
        self._names = iter(f"w{number}" for number in range(1000))
        self._dropped: dict[str, bytes] = {}
        self._last: dict[str, Watch] = {}
        """What is dropped after the last configuration is in force, and into the inbox of which watch."""
        self._trail: list[str] = []

    def live(self) -> None:
        """Live it, and check that nothing was lost, doubled or refused."""
        with unseen():
            self._lodgers.build(*PLACES)
            self._add()
            self._add()
            self._write()
            self._lodgers.reread = lambda: loader.load(self._file)
            engine = SimulatedEngine(seconds=self._chance.choice((0.0, 0.01, 0.05)))
            try:
                self._lodgers.run(loader.load(self._file), self._story, engine)
                self._check()
            except AssertionError as error:
                error.add_note(" | ".join(self._trail))
                raise
        self._tally.sequences += 1
        self._tally.sources += len(self._dropped)

    async def _story(self) -> None:
        daemon = self._lodgers.daemon
        if daemon is None:
            raise AssertionError
        for _ in range(self._chance.randint(2, STEPS)):
            step = self._chance.choices(
                (self._drop, self._change, self._write_wrong, self._write_half), weights=(5, 5, 1, 1)
            )[0]
            step()
            self._trail.append(step.__name__.lstrip("_"))
            if step != self._drop:
                daemon._hangup.set()
                self._tally.reloads += 1
            await asyncio.sleep(self._chance.choice((0.0, 0.005, SOON, 5 * SOON)))
        self._watch_all()
        daemon._hangup.set()
        await until(lambda: {w.inbox for w in daemon._config.watches} == self._inboxes(), "the last reload")
        await until(self._all_done, "all is delivered")
        for watch in self._watches:
            self._last[self._drop_into(watch["inbox"])] = watch
        await until(self._all_done, "what came last is delivered")

    def _inboxes(self) -> set[Any]:
        return {self._lodgers.root / place / "inbox" for place in PLACES}

    def _all_done(self) -> bool:
        daemon = self._lodgers.daemon
        return bool(
            daemon
            and not any(self._lodgers.files(place, "inbox") for place in PLACES)
            and not any(runner.busy for runner in daemon._runners)
            and all(runner.gone.is_set() for runner in daemon._reloader.leaving)
        )

    # -- what happens ---------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        """Drop a scan or two anywhere, also where nobody looks at the moment."""
        for _ in range(self._chance.randint(1, 3)):
            self._drop_into(self._chance.choice(PLACES))

    def _drop_into(self, place: str) -> str:
        number = len(self._dropped)
        name, data = f"{number}.pdf", f"source {number}".encode()
        self._lodgers.drop(name, data, place)
        self._dropped[name] = data
        return name

    def _change(self) -> None:
        """Do to the watches what a person would."""
        for _ in range(self._chance.randint(1, 2)):
            change = self._chance.choice((self._add, self._remove, self._rename, self._move, self._swap))
            change()
            self._trail.append(change.__name__.lstrip("_"))
        self._write()

    def _add(self) -> None:
        free = [place for place in PLACES if place not in {watch["inbox"] for watch in self._watches}]
        if free:
            watch = {"name": next(self._names), "inbox": self._chance.choice(free)}
            watch |= {role: self._chance.choice(PLACES) for role in ("outbox", "archive", "error")}
            self._watches.append(watch)

    def _remove(self) -> None:
        if len(self._watches) > 1:
            self._watches.remove(self._chance.choice(self._watches))

    def _rename(self) -> None:
        self._chance.choice(self._watches)["name"] = next(self._names)

    def _move(self) -> None:
        self._chance.choice(self._watches)[self._chance.choice(("outbox", "archive", "error"))] = self._chance.choice(
            PLACES
        )

    def _swap(self) -> None:
        """Let two watches take each other's names, or folders of one role."""
        if len(self._watches) > 1:
            one, other = self._chance.sample(self._watches, 2)
            what = self._chance.choice(("name", "inbox", "outbox", "archive"))
            one[what], other[what] = other[what], one[what]

    def _watch_all(self) -> None:
        while len(self._watches) < len(PLACES):
            self._add()
        self._write()

    # -- the file -------------------------------------------------------------------------------------------------

    def _text(self) -> str:
        watches = [
            {"name": watch["name"]} | {role: str(self._lodgers.root / place / role) for role, place in folders.items()}
            for watch in self._watches
            for folders in [{role: watch[role] for role in ("inbox", "outbox", "archive", "error")}]
        ]
        return yaml.safe_dump(
            {
                "engine": {"kind": "simulated:create"},
                "settle": {"quiet": "0s", "poll": f"{5 * SOON * 1000:.0f}ms"},
                "batch": {"quiet": "0s"},
                "service": {"drain": "1s"},
                "watches": watches,
            }
        )

    def _write(self) -> None:
        self._file.write_text(self._text())

    def _write_wrong(self) -> None:
        self._tally.refused += 1
        self._file.write_text(self._text() + self._chance.choice(("max_attempts: none\n", "wrong: 1\n", "a: [\n")))

    def _write_half(self) -> None:
        """Write a part: whole lines, which may be right by chance, or the beginning of a word in quotes."""
        lines = self._text().splitlines(keepends=True)
        half = "".join(lines[: self._chance.randrange(len(lines))])
        self._file.write_text(half + self._chance.choice(("", '"')))

    # -- the end --------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        lodgers = self._lodgers
        assert not lodgers.complaints, lodgers.complaints[0]
        archived = Counter(
            (lodgers.root / place / "archive" / name).read_bytes()
            for place in PLACES
            for name in lodgers.files(place, "archive")
        )
        assert archived == Counter(self._dropped.values()), "not each source lies in one archive"
        delivered = Counter(name for place in PLACES for name in lodgers.files(place, "outbox"))
        assert delivered == Counter(name.replace(".pdf", ".md") for name in self._dropped), f"delivered: {delivered}"
        assert not [name for place in PLACES for name in lodgers.files(place, "error")]
        for name, watch in self._last.items():
            where = f"{name} came to {watch['inbox']}, and not into the folders of the last configuration: {watch}"
            assert name in lodgers.files(watch["archive"], "archive"), where
            assert name.replace(".pdf", ".md") in lodgers.files(watch["outbox"], "outbox"), where
        left = list(lodgers.root.glob("*/.inbox.ocrd-work/2*"))
        assert not left, f"left in work: {left}"


def explore(lodgers: Lodgers, seeds: list[str]) -> Tally:
    """Live a sequence for each of these seeds."""
    tally = Tally()
    for seed in seeds:
        if len(tally.failures) == ENOUGH:
            break
        try:
            Sequence(lodgers, random.Random(seed), tally).live()  # noqa: S311 - a sample, no secret
        except AssertionError as error:
            notes = getattr(error, "__notes__", [])
            told = [event.what for event in lodgers.paused]
            tally.failures.append(f"{seed}: {error} {notes}; told: {told} {lodgers.complaints[:1]}")
        finally:
            lodgers.free_folders()
    return tally
