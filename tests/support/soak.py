"""A few files a second for hours, of every kind, into four watches, one of them on a share that hangs and recovers.

RSS, threads, descriptors and children must stay flat, the other watches deliver as ever, and nothing be lost.

python tests/support/soak.py SECONDS [FILES_A_SECOND]
"""

import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import share
from house import House, stop, wait_for
from load import Usage, samples

WATCHES = ("one", "two", "three", "away")
_HANGS, _ANSWERS = 25.0, 20.0
"""Seconds for which the share hangs, and then answers, again and again."""
_USUAL = 30.0
"""Seconds within which the other watches deliver, at most: there is one render worker, which may be at the share."""


class Flaky:
    """The folders of the last watch, on a share that hangs; without FUSE on none, which never does."""

    def __init__(self, house: House) -> None:
        self.behind = house.root / "behind"
        (house.root / WATCHES[-1]).rename(self.behind)
        (house.root / WATCHES[-1]).mkdir()
        reason = share.why_not()
        print(f"The share does not hang: {reason}." if reason else "One share hangs again and again.", flush=True)
        self._closed: share.Share | None = None
        self._share = None if reason else share.Share(self.behind, house.root / WATCHES[-1])
        if reason:
            (house.root / WATCHES[-1]).rmdir()
            (house.root / WATCHES[-1]).symlink_to(self.behind)
        self.hangs = 0
        self._next, self._answers = time.monotonic() + _ANSWERS, True

    def tend(self) -> None:
        """Let it hang, or answer, when it is time."""
        if self._share and time.monotonic() >= self._next:
            self._answers = not self._answers
            self._next += _ANSWERS if self._answers else _HANGS
            self.hangs += not self._answers
            (self._share.recover if self._answers else self._share.hang)()

    def recover(self) -> None:
        """Let it answer for good."""
        if self._share:
            self._share.recover()
            self._share, self._closed = None, self._share

    def close(self) -> None:
        """Unmount it."""
        self.recover()
        if self._closed:
            self._closed.close()


def main(seconds: float, rate: float = 3.0) -> int:
    house = House(Path(tempfile.mkdtemp(prefix="ocrd-soak-")))
    house.configure(WATCHES, tally="/dev/null", seconds=0.05)
    flaky = Flaky(house)
    try:
        return soak(house, flaky, seconds, rate)
    finally:
        house.close()
        flaky.close()


def soak(house: House, flaky: Flaky, seconds: float, rate: float) -> int:
    daemon = house.start()
    wait_for(lambda: house.events("ready"), 120)
    seen: list[Usage] = []
    dropped, began = 0, time.monotonic()
    for (name, data), watch in zip(samples(), cycle(WATCHES), strict=False):
        due = began + dropped / rate
        while (left := due - time.monotonic()) > 0:
            flaky.tend()
            time.sleep(min(left, 0.5))
        if due > began + seconds:
            break
        part = folder(house, flaky, watch) / f"inbox/{name}.part"
        part.write_bytes(data)
        part.rename(part.with_suffix(""))
        dropped += 1
        if dropped % int(30 * rate) == 0:
            seen.append(Usage.of(daemon, done(house, flaky)))
            print(f"{time.monotonic() - began:6.0f} s, {dropped} dropped, {flaky.hangs} hangs, {seen[-1]}", flush=True)
    flaky.recover()
    wait_for(lambda: done(house, flaky) == dropped, 300)
    assert stop(daemon) == 0
    check(house, flaky, dropped)
    return told(seen)


def folder(house: House, flaky: Flaky, watch: str) -> Path:
    """Say where the folders of a watch are to be had at any time."""
    return flaky.behind if watch == WATCHES[-1] else house.root / watch


def files(house: House, flaky: Flaky, role: str) -> list[str]:
    """List the files of one role in all watches, without notes."""
    names = [path.name for watch in WATCHES for path in (folder(house, flaky, watch) / role).glob("*")]
    return [name for name in names if not name.endswith(".error.md")]


def done(house: House, flaky: Flaky) -> int:
    return len(files(house, flaky, "archive")) + len(files(house, flaky, "error"))


def check(house: House, flaky: Flaky, dropped: int) -> None:
    """See that all came out, that only what is bad was refused, and that the others did not wait for the share."""
    refused = files(house, flaky, "error")
    assert all("bad" in name for name in refused), refused
    assert len(files(house, flaky, "outbox")) == dropped - len(refused)
    others = [line for line in house.events("delivered") if line["watch"] != WATCHES[-1]]
    slowest = max(float(str(line["latency"])) for line in others)
    hung = [line for line in house.told("paused", WATCHES[-1]) if "No answer" in str(line["what"])]
    print(f"{dropped} dropped, {len(refused)} refused, {flaky.hangs} hangs, told of {len(hung)} times")
    print(f"the slowest of {len(others)} in the other watches took {slowest:.1f} s")
    assert slowest < _USUAL
    assert not [watch for watch in WATCHES[:-1] if house.told("paused", watch)]


def told(seen: list[Usage]) -> int:
    """Hold the last third against the second; the first is for warming up."""
    third = len(seen) // 3
    if not third:
        print("too short to see what grows")
        return 0
    middle, last = seen[third : 2 * third], seen[2 * third :]
    grown = {
        what: (most(middle, what), most(last, what))
        for what, room in _ROOM.items()
        if most(last, what) > most(middle, what) + room
    }
    print(f"grown: {grown}" if grown else "nothing has grown")
    return 1 if grown else 0


_ROOM = {"rss": 16, "files": 4, "threads": 2, "children": 1, "children_rss": 64}
"""How much more the last third may use than the second, at most, of each: a worker that was killed at the share may be
there with the one after it."""


def most(seen: list[Usage], what: str) -> int:
    return max((getattr(usage, what) for usage in seen), default=0)


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
