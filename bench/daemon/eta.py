"""How honest the time left is: the real daemon over backlogs of several kinds, and what it says against what comes.

    python bench/daemon/eta.py [--cpu] [SCENARIO...]    # two minutes each

Each backlog lies there when the daemon starts, so that nothing comes later of which no estimate can know. Once a second
the status is read as `ocrd status` reads it, until the last page is read. A sample is right if the time left that it
tells is within 20 % of what it then was. `known` is the share of samples that tell one at all, `one number` the share
of these that give no range, and `held` those ranges, or right numbers, that hold what came. `eta_simulated.py` tries
more kinds, in no time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(_ROOT / "tests/support"))

from eta_simulated import Told, judged, shares  # noqa: E402 - as what follows
from house import OCRD, House, stop  # noqa: E402 - found through the path above

from ocrd.telemetry import pace, status_file  # noqa: E402

_MODULES = os.pathsep.join(
    filter(None, [os.environ.get("PYTHONPATH"), *(str(_ROOT / "bench" / folder) for folder in ("daemon", "quality"))])
)
"""Where the daemon finds its engine; another ocrd that is named before it is measured instead of this one."""
_HEAD = """\
| backlog | seconds | known | right | one number | of these right | held |
| --- | --- | --- | --- | --- | --- | --- |"""
_LONGEST = 900
"""Seconds after which a scenario is given up."""
_STEADY = {"seconds": 4.0, "spread": 0.3, "drift": 0.0}
"""Of a page; the engine reads eight at once."""
_VARYING = {"seconds": 4.0, "spread": 0.6, "drift": 0.5}

Backlog = dict[str, list[int]]
"""The pages of each document, by watch."""


class Scenario(NamedTuple):
    """A backlog, and the engine that reads it."""

    backlog: Backlog
    engine: dict[str, Any]


SCENARIOS = {
    "single pages": Scenario({"scans": [1] * 200}, _STEADY),
    "long documents": Scenario({"scans": [100, 60, 40]}, _STEADY),
    "two watches, mixed": Scenario({"post": [1] * 60, "books": [80, 60]}, _STEADY),
    "an engine of varying speed": Scenario({"post": [1] * 60, "books": [80, 60]}, _VARYING),
    "an engine that loads for 20 s": Scenario({"scans": [1, 2, 5, 12] * 10}, _STEADY | {"loading": 20.0}),
}


class Sample(NamedTuple):
    """What the daemon told at one time."""

    at: float
    """Seconds since the epoch."""
    left: int
    """Pages."""
    time_left: pace.TimeLeft | None


def main() -> None:
    """Run the scenarios, and print a row of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--cpu", action="store_true", help="the cpu engine, too, over drawn pages")
    arguments = parser.parse_args()
    chosen = {name: SCENARIOS[name] for name in arguments.scenarios or SCENARIOS}
    print(_HEAD)
    everything: list[Told | None] = []
    for name, scenario in chosen.items():
        engine = {"kind": "engines:create", "options": {"kind": "varying", "seed": len(name), **scenario.engine}}
        everything += _measured(name, scenario.backlog, engine)
    if arguments.cpu:
        everything += _measured("the cpu engine", {"scans": [1] * 8 + [16]}, {"kind": "cpu", "cpu": {"workers": 1}})
    print(f"| all |  | {shares(everything)} |")


def _measured(name: str, backlog: Backlog, engine: dict[str, Any]) -> list[Told | None]:
    """Run one scenario, print its row, and judge each sample; None if it told nothing."""
    with tempfile.TemporaryDirectory(prefix="ocrd-eta-") as root:
        house = House(Path(root))
        house.configure(tuple(backlog), engine)
        for watch, documents in backlog.items():
            for number, pages in enumerate(documents):
                house.drop(f"{number}.pdf", pages, watch)
        samples = list(_samples(house))
    end = samples[-1].at
    told = [judged(one.time_left, end - one.at) for one in samples[:-1]]
    print(f"| {name} | {end - samples[0].at:.0f} | {shares(told)} |", flush=True)
    return told


def _samples(house: House) -> Iterator[Sample]:
    """Run the daemon until nothing is left to read, and tell what it said."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(house.root / "run"), "PYTHONPATH": _MODULES}
    settings = house.root / "ocrd.yaml"
    with house.log.open("ab") as log:
        daemon = subprocess.Popen([OCRD, "run", "-c", settings], env=environment, stdin=subprocess.DEVNULL, stderr=log)
    try:
        os.environ["XDG_RUNTIME_DIR"] = environment["XDG_RUNTIME_DIR"]
        yield from _until_all_is_read(settings)
        stop(daemon)
    finally:
        daemon.kill()
        daemon.wait()


def _until_all_is_read(settings: Path) -> Iterator[Sample]:
    deadline, written, begun = time.monotonic() + _LONGEST, 0.0, False
    while time.monotonic() < deadline:
        time.sleep(0.5)
        told = status_file.read(settings)
        if told is None or told.written == written:
            continue
        written, begun = told.written, begun or told.pages_left > 0
        if begun:
            ends = (told.eta, told.eta_least, told.eta_most)
            known = pace.TimeLeft(*ends) if None not in ends else None
            yield Sample(told.written, told.pages_left, known)
            if not told.pages_left:
                return
    sys.exit(f"Not all was read within {_LONGEST} s.")


if __name__ == "__main__":
    main()
