"""The score on olmOCR-bench of whatever engine and profile a configuration names.

`python bench/quality/olmocr_bench.py DATA [-c CONFIG] [--judge PYTHON]`

DATA is the bench's folder, with `pdfs/` and `*.jsonl`, which you fetch yourself:
`hf download --repo-type dataset allenai/olmOCR-bench --local-dir olmocr-bench`, and DATA is `olmocr-bench/bench_data`.
ocrd reads its PDFs and writes each page to DATA/ocrd/, where the bench looks for it: without front matter, without
running titles (the bench fails a page that has them), and without help from a PDF's own text. Then the bench's own
program judges them, under a Python that has it (`pip install olmocr[bench]`); it prints the score.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from ocrd.config import loader
from ocrd.output import front_matter

CANDIDATE = "ocrd"
"""The folder of the pages in the bench's data, and the name of the row in its table."""


def main() -> int:
    """Read the pages, and let the bench judge them; returns its exit code."""
    options = _options()
    pages = options.data / CANDIDATE
    shutil.rmtree(pages, ignore_errors=True)
    chosen = sorted((options.data / "pdfs").rglob("*.pdf"))
    with tempfile.TemporaryDirectory() as folder:
        sidecars = _read(chosen, options.config, Path(folder))
        for pdf in chosen:
            _place(sidecars / f"{pdf.stem}.md", pages / pdf.relative_to(options.data / "pdfs").with_suffix(""))
    command = [options.judge, "-m", "olmocr.bench.benchmark", "--dir", options.data, "--candidate", CANDIDATE]
    return subprocess.run(command, check=False).returncode


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-c", "--config", type=Path, help="takes the engine from here")
    parser.add_argument("--judge", default=sys.executable, help="the Python that has olmocr[bench]")
    return parser.parse_args()


def _read(pdfs: list[Path], config: Path | None, folder: Path) -> Path:
    """Let `ocrd convert` read the PDFs with the configuration's engine; return where the sidecars are."""
    engine = loader.load(config).engine if config else loader.without_watches().engine
    places = {name: str(folder / name) for name in ("inbox", "outbox", "archive", "error")}
    plain = {"front_matter": False, "running": "drop", "figures": False, "pages": {"text_layer": "ignore"}}
    settings = {"engine": engine.model_dump(mode="json"), "watches": [{"name": "bench", **places, **plain}]}
    (folder / "ocrd.yaml").write_text(yaml.safe_dump(settings))
    ocrd = Path(sys.executable).with_name("ocrd")
    command = [ocrd, "convert", *pdfs, "-c", folder / "ocrd.yaml", "-o", folder / "sidecars"]
    subprocess.run(command, check=False)  # a PDF that can't be read counts as failed
    return folder / "sidecars"


def _place(sidecar: Path, base: Path) -> None:
    """Write each page of a sidecar under the name that the bench looks for."""
    if not sidecar.exists():
        print(f"not read: {base}")
        return
    base.parent.mkdir(parents=True, exist_ok=True)
    for number, text in front_matter.divided(sidecar.read_text(encoding="utf-8")).pages:
        base.with_name(f"{base.name}_pg{number}_repeat1.md").write_text(text.strip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
