"""Measures the whole daemon on one GPU: PDFs into an inbox, Markdown into the outbox, and what may go wrong between.

    python3 bench/gpu_daemon.py [--documents 64] [--pages 8] [--tokens 800]

Takes a model of DeepSeek-OCR's real size with random weights: the speed is the real model's at equal token counts, and
the text is noise. Prints each figure as soon as it is there. The parts: start to READY; all documents; the same with
EngineCore killed in the middle; a half-black page among good ones; the card's memory before sleep, asleep, and awake.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "vllm")]
BEGAN = time.monotonic()
CONFIG = """\
engine:
  kind: vllm
  vllm:
    model: {model}
    max_tokens: {tokens}
    renderer_num_workers: 8
    idle: {{after: 15s, do: sleep}}
    extra: {{load_format: dummy, dtype: bfloat16}}
settle: {{quiet: 1s}}
render: {{workers: 8}}
log: {{format: json}}
watches:
  - {{name: gpu, inbox: inbox, outbox: outbox, archive: archive, error: error}}
"""


def tell(what: str, value: object) -> None:
    """Print a figure, with the seconds since the beginning."""
    print(f"{time.monotonic() - BEGAN:6.0f} s | {what}: {value}", flush=True)


def card() -> str:
    """Return the memory that the card has in use."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def engine_pids() -> list[int]:
    """Find the EngineCore processes."""
    found = subprocess.run(["pgrep", "-f", "VLLM::EngineCor"], capture_output=True, text=True, check=False)  # noqa: S607
    return [int(pid) for pid in found.stdout.split()]


class Bench:
    """A daemon on folders of its own."""

    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        self.root = root
        self.options = options
        self.dice = random.Random(1)  # noqa: S311 - no secret

    def draw(self, pages: int, *, half_black: bool = False) -> Path:
        """Make a PDF of image-only A4 pages at 150 dpi, outside the inbox."""
        import pymupdf
        from PIL import Image, ImageDraw, ImageFont

        font = ImageFont.load_default(size=22)
        with pymupdf.open() as document:
            for _ in range(pages):
                image = Image.new("L", (1240, 1754), "white")
                draw = ImageDraw.Draw(image)
                for top in range(100, 1650, 34):
                    draw.text((100, top), "".join(self.dice.choices("abcdefghij klmnop", k=80)), "black", font)
                if half_black:
                    image.paste(0, (0, 0, 1240, 877))
                    image.paste(255, (0, 877, 1240, 1754))
                page = document.new_page(width=595, height=842)
                page.insert_image(page.rect, pixmap=pymupdf.Pixmap(pymupdf.csGRAY, 1240, 1754, image.tobytes(), False))
            path = self.root / f"drawn-{self.dice.random()}.pdf"
            document.save(path, deflate=True)
        return path

    def drop(self, drawn: Path, name: str) -> None:
        part = self.root / "inbox" / f"{name}.part"
        shutil.copy(drawn, part)
        part.rename(part.with_suffix(""))

    def delivered(self) -> int:
        return len(list((self.root / "archive").glob("*.pdf")))

    def wait(self, condition: Callable[[], object], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.daemon.poll() is not None:
                tell("gave up waiting; the daemon's exit code", self.daemon.poll())
                return False
            time.sleep(0.05)
        return True

    def events(self, event: str) -> list[dict[str, object]]:
        lines = (self.root / "log").read_text().splitlines()
        return [line for line in (json.loads(x) for x in lines if x.startswith("{")) if line["event"] == event]

    def start(self) -> None:
        began = time.monotonic()
        with (self.root / "log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "ocrd", "run", "-c", self.root / "ocrd.yaml"], stderr=log, stdout=log, cwd=ROOT
            )
        if self.wait(lambda: self.events("ready"), 300):
            tell("start to ready", f"{time.monotonic() - began:.0f} s")

    def work_off(self, name: str, between: Callable[[], None] = lambda: None) -> None:
        """Drop the documents, wait for all of them, and tell the pages per second."""
        documents, pages = self.options.documents, self.options.pages
        before = self.delivered()
        dropped = time.monotonic()
        for number in range(documents):
            self.drop(self.drawn[number % len(self.drawn)], f"{name}-{number}.pdf")
        between()
        if self.wait(lambda: self.delivered() >= before + documents, 240):
            seconds = time.monotonic() - dropped
            rate = documents * pages / seconds
            tell(f"{name}: {documents} documents of {pages} pages", f"{seconds:.1f} s, {rate:.2f} pages/s")

    def kill_engine(self) -> None:
        """Kill EngineCore once some of the documents are delivered."""
        before = self.delivered()
        self.wait(lambda: self.delivered() >= before + self.options.documents // 8, 120)
        for pid in engine_pids():
            os.kill(pid, signal.SIGKILL)
        tell("EngineCore killed with pages in it, delivered so far", self.delivered() - before)

    def main(self) -> None:
        """Go through the parts."""
        from tiny_model import REAL, make

        for role in ("inbox", "outbox", "archive", "error"):
            (self.root / role).mkdir()
        model = make(self.root / "model", REAL)
        (self.root / "ocrd.yaml").write_text(CONFIG.format(model=model, tokens=self.options.tokens))
        self.drawn = [self.draw(self.options.pages) for _ in range(4)]
        half_black = self.draw(1, half_black=True)
        one = self.draw(1)
        tell("card before the start", card())
        self.start()
        tell("card with the engine", card())
        self.work_off("warm-up")
        self.work_off("documents")
        self.work_off("documents again")
        self.drop(half_black, "half-black.pdf")
        before = engine_pids()
        self.wait(lambda: list((self.root / "archive").glob("half-black*")), 60)
        tell("half-black page delivered, the same engine lives on", engine_pids() == before)
        tell("card before sleep", card())
        time.sleep(25)
        tell("card asleep", card())
        woken = time.monotonic()
        self.drop(one, "wake.pdf")
        if self.wait(lambda: list((self.root / "archive").glob("wake*")), 60):
            tell("one page after sleep, settling and batching included", f"{time.monotonic() - woken:.1f} s")
        tell("card awake again", card())
        self.work_off("killed", self.kill_engine)
        tell("refused", len(list((self.root / "error").glob("*.pdf"))))
        self.daemon.kill()
        self.daemon.wait()
        gone = time.monotonic()
        while engine_pids() and time.monotonic() - gone < 30:  # noqa: PLR2004
            time.sleep(0.1)
        tell("after kill -9 of the daemon, EngineCore left", f"{engine_pids()} after {time.monotonic() - gone:.1f} s")
        tell("card after kill -9", card())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--pages", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=800)
    Bench(Path(tempfile.mkdtemp(prefix="ocrd-gpu-")), parser.parse_args()).main()
