"""A few files a second for hours, of every kind: RSS, threads, descriptors and children must stay flat.

python tests/support/soak.py SECONDS [FILES_A_SECOND]
"""

import sys
import tempfile
import time
from pathlib import Path

from house import House, stop, wait_for
from load import Usage, samples


def main(seconds: float, rate: float = 3.0) -> int:
    house = House(Path(tempfile.mkdtemp(prefix="ocrd-soak-")))
    house.configure(tally="/dev/null", seconds=0.05)
    daemon = house.start()
    wait_for(lambda: house.events("ready"), 120)
    seen: list[Usage] = []
    dropped, began = 0, time.monotonic()
    for name, data in samples():
        due = began + dropped / rate
        time.sleep(max(0.0, due - time.monotonic()))
        if due > began + seconds:
            break
        part = house.path(f"inbox/{name}.part")
        part.write_bytes(data)
        part.rename(part.with_suffix(""))
        dropped += 1
        if dropped % int(30 * rate) == 0:
            seen.append(Usage.of(daemon, done(house)))
            print(f"{time.monotonic() - began:6.0f} s, {dropped} dropped, {seen[-1]}", flush=True)
    wait_for(lambda: done(house) == dropped, 300)
    assert stop(daemon) == 0
    refused = [name for name in house.files("error") if not name.endswith(".error.md")]
    assert all("bad" in name for name in refused), refused
    assert len(house.files("outbox")) == dropped - len(refused)
    print(f"{dropped} dropped, {len(refused)} refused")
    return told(seen)


def done(house: House) -> int:
    errors = [name for name in house.files("error") if not name.endswith(".error.md")]
    return len(house.files("archive")) + len(errors)


def told(seen: list[Usage]) -> int:
    """Hold the last third against the second; the first is for warming up."""
    third = len(seen) // 3
    middle, last = seen[third : 2 * third], seen[2 * third :]
    grown = {
        what: (most(middle, what), most(last, what))
        for what, room in _ROOM.items()
        if most(last, what) > most(middle, what) + room
    }
    print(f"grown: {grown}" if grown else "nothing has grown")
    return 1 if grown else 0


_ROOM = {"rss": 16, "files": 4, "threads": 2, "children": 0, "children_rss": 64}
"""How much more the last third may use than the second, at most, of each."""


def most(seen: list[Usage], what: str) -> int:
    return max((getattr(usage, what) for usage in seen), default=0)


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
