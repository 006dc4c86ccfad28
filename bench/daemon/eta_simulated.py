"""How honest the time left is over simulated backlogs of many shapes: hours of reading in half a minute.

    python bench/daemon/eta_simulated.py [BACKLOGS]    # of each shape, 12 unless told otherwise

What is asked is the code of the daemon, once a second of simulated time, with what it is told there. The numbers in
`ocrd/telemetry/pace.py` were chosen over the first shapes only; the others were kept aside. The truth is when the pages
that were left at that time are read, on a clock that stands still in a pause, since none can know of what comes later.
`right` is within 20 % of it; `one number` the share that told `about 4 min` and no range; `held` those ranges, or right
numbers, that hold the truth.
"""

import argparse
import heapq
import math
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ocrd import display
from ocrd.telemetry.pace import Pace, TimeLeft

_WITHIN = 0.2
_LASTING = 0.98
"""Of how fast an engine of varying speed was at one page, what is left at the next."""
_LENGTHS = (60, 150, 400, 1000)
"""Pages of a backlog."""
_DOCUMENTS = (1, 1, 2, 3, 5, 8, 20, 40)
"""Pages of a document."""
_CHANGE = 0.4
"""Where in a backlog its pages become others."""
_HEAD = """\
| backlog | told | right | one number | of these right | held |
| --- | --- | --- | --- | --- | --- |"""

Costs = Callable[[random.Random, int], Iterator[float]]
"""What so many pages cost, one after the other; 1 on average."""


class Shape(NamedTuple):
    """A kind of backlog, and the engine that reads it."""

    costs: Costs
    at_once: int = 8
    seconds: float = 4.0
    """Of a page, on average."""
    pause: float = 0.0
    """Seconds for which nothing is read, in the middle."""
    later: float = 0.0
    """Share of the pages that are dropped when a third of all is read."""


def _alike(spread: float) -> Costs:
    return lambda draw, pages: (_factor(draw, spread) for _ in range(pages))


def _factor(draw: random.Random, spread: float) -> float:
    return math.exp(draw.gauss(0, spread) - spread**2 / 2)


def _along(level: Callable[[float], float]) -> Costs:
    """Pages whose cost depends on how far the backlog has got, from 0 to 1."""
    return lambda draw, pages: (_factor(draw, 0.3) * level(number / pages) for number in range(pages))


def _drifting(draw: random.Random, pages: int) -> Iterator[float]:
    drifted = 0.0
    for _ in range(pages):
        drifted = _LASTING * drifted + draw.gauss(0, 0.5 * (1 - _LASTING**2) ** 0.5)
        yield math.exp(drifted) * _factor(draw, 0.6)


def _documents(draw: random.Random, pages: int) -> Iterator[float]:
    """Yield the costs of documents, each of which is dense or not."""
    while pages > 0:
        length, dense = draw.choice(_DOCUMENTS), _factor(draw, 0.6)
        for _ in range(min(length, pages)):
            yield dense * _factor(draw, 0.3)
        pages -= length


CHOSEN_BY = {
    "pages alike": Shape(_alike(0.3)),
    "pages that differ much": Shape(_alike(0.8)),
    "four times slower from begin to end": Shape(_along(lambda done: 0.5 + 1.5 * done)),
    "an engine whose speed drifts": Shape(_drifting),
    "dense documents and others": Shape(_documents),
    "a pause of five minutes": Shape(_alike(0.4), pause=300),
}
KEPT_ASIDE = {
    "a second batch": Shape(_alike(0.4), later=0.5),
    "dense documents and others, two at once": Shape(_documents, at_once=2, seconds=2.5),
    "one page at a time": Shape(_alike(0.5), at_once=1, seconds=3.0),
    "64 pages at once": Shape(_alike(0.3), at_once=64, seconds=10.0),
    "2.5 times slower from one page to the next": Shape(_along(lambda done: 2.5 if done > _CHANGE else 1.0)),
    "slower and faster by turns": Shape(_along(lambda done: math.exp(0.6 * math.sin(12 * done)))),
    "four times faster from begin to end": Shape(_along(lambda done: 2 - 1.5 * done)),
}


class Told(NamedTuple):
    """What was told at one time."""

    right: bool
    one_number: bool
    held: bool


def main() -> None:
    """Print a row of a table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backlogs", nargs="?", type=int, default=12)
    backlogs = range(parser.parse_args().backlogs)
    print(_HEAD)
    for title, shapes in (("the numbers were chosen by these", CHOSEN_BY), ("kept aside", KEPT_ASIDE)):
        everything: list[Told | None] = []
        for name, shape in shapes.items():
            asked = [told for seed in backlogs for told in _asked(shape, random.Random(f"{name} {seed}"))]  # noqa: S311
            print(f"| {name} | {shares(asked)} |", flush=True)
            everything += asked
        print(f"| **{title}** | {shares(everything)} |", flush=True)


def shares(asked: list[Told | None]) -> str:
    """Tell as cells of a table how much was told, and how right that was."""
    told = [one for one in asked if one]
    single = [one for one in told if one.one_number]
    counts = (
        (len(told), len(asked)),
        (sum(one.right for one in told), len(told)),
        (len(single), len(told)),
        (sum(one.right for one in single), len(single)),
        (sum(one.held for one in told), len(told)),
    )
    return " | ".join(f"{part / whole:.0%}" if whole else "" for part, whole in counts)


def judged(told: TimeLeft | None, came: float) -> Told | None:
    """Judge a time left by the seconds that came; None if it was not told."""
    if told is None:
        return None
    right = abs(told.likely - came) <= _WITHIN * came
    one_number = display.estimate(*told).startswith("about")
    return Told(right, one_number, right if one_number else told.least <= came <= told.most)


def _asked(shape: Shape, draw: random.Random) -> Iterator[Told | None]:
    """Read a backlog, and judge each second what is told; None if it is nothing."""
    pages = draw.choice(_LENGTHS)
    ends = _ends([shape.seconds * cost for cost in shape.costs(draw, pages)], shape.at_once)
    half = ends[pages // 2]
    pace, read = Pace(), 0
    for second in range(math.ceil(ends[-1])):
        paused = shape.pause if second > half else 0.0
        if shape.pause and second - 1 <= half < second:
            pace.rest(half)
        while ends[read] < second:
            pace.page(ends[read] + paused)
            read += 1
        pace.work(second + paused, min(shape.at_once, pages - read))
        known = pages if 3 * read >= pages else round(pages * (1 - shape.later))
        yield judged(pace.left(known - read), ends[known - 1] - second)


def _ends(seconds: list[float], at_once: int) -> list[float]:
    """Return when each page ends, in order, if each begins as soon as one of so many places is free."""
    places, ends = [0.0] * at_once, []
    for one in seconds:
        end = heapq.heappop(places) + one
        heapq.heappush(places, end)
        ends.append(end)
    return sorted(ends)


if __name__ == "__main__":
    main()
