"""Make `samples/expected/`: what the cpu engine delivers of each sample, and its review page.

`python samples/expect.py` reads every sample with the real daemon and replaces what lies there. The tests compare by
structure and error rate, since another Tesseract reads a few letters differently.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent / "ocrd/samples"
EXPECTED = HERE / "expected"
CONFIG = """\
engine: {kind: cpu, cpu: {languages: [eng, rus]}}
settle: {quiet: 100ms}
batch: {quiet: 100ms}
log: {level: warning}
watches:
  - {name: samples, inbox: inbox, outbox: outbox, archive: archive, error: error, outputs: [markdown, json]}
"""


def main() -> int:
    """Make all of it; the exit code is that of the daemon."""
    ocrd = Path(sys.executable).with_name("ocrd")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "inbox").mkdir()
        (folder / "ocrd.yaml").write_text(CONFIG)
        for sample in SAMPLES.iterdir():
            if sample.suffix in {".pdf", ".jpg", ".tif"}:
                shutil.copy(sample, folder / "inbox")
        code = subprocess.run([ocrd, "once", "-c", folder / "ocrd.yaml"], check=False).returncode
        shutil.rmtree(EXPECTED, ignore_errors=True)
        EXPECTED.mkdir()
        for sidecar in sorted((folder / "outbox").glob("*.md")):
            shutil.copy(sidecar, EXPECTED)
            page = EXPECTED / f"{sidecar.stem}.review.html"
            subprocess.run([ocrd, "review", sidecar.stem, "-c", folder / "ocrd.yaml", "-o", page], check=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
