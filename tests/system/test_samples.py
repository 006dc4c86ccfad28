"""A newcomer's first two commands, as far as they are ours: the real daemon, the real cpu engine, real scans."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rapidfuzz.distance import Levenshtein

ROOT = Path(__file__).parents[2]
WORST = 0.03
"""Share of wrong characters; measured at most 0.1 %, on the samples in English, German and Russian."""


@pytest.fixture(scope="module")
def rates() -> dict[str, float]:
    """Run the demonstration; give the error rate of each sample in percent."""
    done = subprocess.run(
        [sys.executable, ROOT / "samples/demo.py"], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {name: float(rate) for name, rate in re.findall(r"^  (\S+) +([\d.]+)%$", done.stdout, re.MULTILINE)}


def test_the_demonstration_reads_every_sample_well(rates: dict[str, float]) -> None:
    samples = {path.name for path in (ROOT / "samples").iterdir() if path.suffix in {".pdf", ".jpg", ".tif"}}
    if rates.keys() != samples:
        pytest.skip(f"no language data for {samples - rates.keys()}; those that could be read were read")
    assert max(rates.values()) / 100 < WORST


def test_the_sidecars_are_those_that_are_shown_to_readers(rates: dict[str, float]) -> None:
    for name in rates:
        made = (ROOT / "demo/outbox" / name).with_suffix(".md").read_text(encoding="utf-8")
        shown = (ROOT / "samples/expected" / name).with_suffix(".md").read_text(encoding="utf-8")
        assert structure(made) == structure(shown), name
        assert Levenshtein.distance(made, shown) < WORST * len(shown), name


def structure(sidecar: str) -> list[str]:
    """List what must be the same whichever Tesseract reads: facts, markers, notes, headings and tables."""
    facts = ("source:", "sha256:", "pages:", "status:", "engine:", "- page:", "  verdict:", "<!--", "> *")
    told = []
    for line in sidecar.splitlines():
        if line.startswith(facts):
            told.append(line)
        elif line.startswith(("#", "|")):
            told.append("".join(re.findall("^#+|[|]", line)))
    return told


def test_every_sample_is_shown_with_its_review_page() -> None:
    scans = {p.stem for p in (ROOT / "samples").iterdir() if p.suffix in {".pdf", ".jpg", ".tif"}}
    shown = {path.name for path in (ROOT / "samples/expected").iterdir()}
    assert shown == {f"{stem}{ending}" for stem in scans for ending in (".md", ".review.html")}
    for path in (ROOT / "samples/expected").glob("*.html"):
        assert path.stat().st_size < 200_000
        assert "data:image/webp;base64," in path.read_text(encoding="utf-8")


def test_every_sample_has_its_true_text() -> None:
    scans = {p.stem for p in (ROOT / "samples").iterdir() if p.suffix in {".pdf", ".jpg", ".tif"}}
    assert scans == {path.stem for path in (ROOT / "samples").glob("*.txt")}
    assert {"english", "russian", "table", "columns", "turned", "blank"} <= scans
