"""`make demo`: the real daemon on a folder of its own, fed with the samples.

Starts `ocrd run`, drops every sample into the inbox, shows each sidecar as it arrives with its character error rate
against the true text, and stops the daemon. Exit code 0 only if every sample arrived.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from ocrd.engines.cpu import installed_languages

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench/quality"))
from cer import cer  # noqa: E402 - a script beside the package, not in it

PATIENCE = 600
"""Seconds to wait for all samples."""
LANGUAGE = {"russian.pdf": "rus"}
"""Samples that need more than English."""
CONFIG = """\
engine: {kind: cpu}
settle: {quiet: 1s}
batch: {quiet: 500ms}
watches:
  - {name: demo, inbox: inbox, outbox: outbox, archive: archive, error: error}
"""


def main() -> int:
    """Run the demonstration and return the exit code."""
    folder = HERE.parent / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "inbox").mkdir(parents=True)
    (folder / "ocrd.yaml").write_text(CONFIG)
    samples = readable_samples()
    ocrd = [str(Path(sys.executable).with_name("ocrd")), "run", "-c", str(folder / "ocrd.yaml")]
    print(f"$ {' '.join(ocrd)}", flush=True)
    with (folder / "ocrd.log").open("wb") as log:
        daemon = subprocess.Popen(ocrd, stdout=log, stderr=log)
        try:
            for sample in samples:
                shutil.copy(sample, folder / "inbox")
            print(f"Dropped {len(samples)} samples into {folder / 'inbox'}.\n", flush=True)
            began = time.monotonic()
            missing = show_arrivals(samples, folder, daemon)
            seconds = time.monotonic() - began
        finally:
            daemon.terminate()
            code = daemon.wait(timeout=60)
    archived = {path.name for path in (folder / "archive").iterdir()}
    print(f"{len(samples) - len(missing)} of {len(samples)} samples arrived in {seconds:.0f} s;", end=" ")
    print(f"{len(archived)} originals are in {folder / 'archive'}; the daemon ended with exit code {code}.")
    if missing or code or archived != {sample.name for sample in samples}:
        print(f"Missing: {', '.join(sorted(missing)) or 'nothing'}. The daemon's log:")
        print((folder / "ocrd.log").read_text())
        return 1
    return 0


def readable_samples() -> list[Path]:
    """Choose the samples whose language is installed, and say what would bring the others."""
    installed = installed_languages()
    samples = []
    for sample in sorted(path for path in HERE.iterdir() if path.suffix in {".pdf", ".jpg", ".tif"}):
        language = LANGUAGE.get(sample.name, "eng")
        if language in installed:
            samples.append(sample)
        else:
            print(f"{sample.name} is left out: Tesseract has no data for {language!r}.")
            print(f"To include it: apt-get install tesseract-ocr-{language}\n")
    return samples


def show_arrivals(samples: list[Path], folder: Path, daemon: "subprocess.Popen[bytes]") -> set[str]:
    """Print each sidecar when it arrives; returns the names of the samples that did not."""
    waiting = {sample.name: sample for sample in samples}
    rates = {}
    deadline = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < deadline and daemon.poll() is None:
        for name, sample in list(waiting.items()):
            sidecar = folder / "outbox" / f"{sample.stem}.md"
            if sidecar.exists():
                text = sidecar.read_text(encoding="utf-8")
                rates[name] = cer(sample.with_suffix(".txt").read_text(encoding="utf-8"), text)
                print(f"{'=' * 8} {sidecar}\n{text}\n", flush=True)
                del waiting[name]
        time.sleep(0.2)
    print("Character error rate against the true text:")
    for name, rate in sorted(rates.items()):
        print(f"  {name:<14} {rate:7.2%}")
    return set(waiting)


if __name__ == "__main__":
    sys.exit(main())
