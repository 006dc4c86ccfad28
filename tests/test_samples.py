"""A newcomer's first two commands, as far as they are ours: the real daemon, the real cpu engine, real scans."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORST = 0.03
"""Share of wrong characters; measured at most 0.1 %, on the samples in English, German and Russian."""


def test_the_demonstration_reads_every_sample_well() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "samples/demo.py"], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rates = dict(re.findall(r"^  (\S+) +([\d.]+)%$", done.stdout, re.MULTILINE))
    samples = {path.name for path in (ROOT / "samples").iterdir() if path.suffix in {".pdf", ".jpg", ".tif"}}
    if rates.keys() != samples:
        pytest.skip(f"no language data for {samples - rates.keys()}; those that could be read were read")
    assert max(map(float, rates.values())) / 100 < WORST


def test_every_sample_has_its_true_text() -> None:
    scans = {p.stem for p in (ROOT / "samples").iterdir() if p.suffix in {".pdf", ".jpg", ".tif"}}
    assert scans == {path.stem for path in (ROOT / "samples").glob("*.txt")}
    assert {"english", "russian", "table", "columns", "turned", "blank"} <= scans
