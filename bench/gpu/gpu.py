"""Measures throughput on one GPU: the whole daemon, from PDFs to sidecars, and the same engine on images in memory.

    python3 bench/gpu/gpu.py [--parts daemon,memory,upstream] [--pages 1024] [--tokens 800] [--seconds 500] [--json FILE]
                             [--profile ovis-ocr-2] [--after FILE]

The model has the published one's real size and random weights: the speed is the real model's at equal token counts, and the
text is noise. The engines are started once, as the service starts them, and serve every part:

    daemon    PDFs in an inbox, sidecars in the outbox, as configured for work
    single    as daemon, but on the first engine alone, where there are several
    card      as daemon, but on the engines of the first card alone, where there are several
    pair      as daemon, but on the first engines of two cards alone, where there are more
    spread    as daemon, but on the first engine of each card alone, where there are several on it
    memory    the engine alone, on views of pages that lie ready in memory; `memory:256` keeps 256 pages in flight
    launched  as memory, but the vision towers' kernels are launched one by one, as vLLM does by default
    crowded   as daemon, but torch in EngineCore spreads over all cores, as it does by default
    upstream  the whole daemon, with vLLM making the model's views itself
    recipe    vLLM's `LLM.generate` as in its recipe, on images in memory (its own engine: give it a run of its own)

Every figure is printed as soon as it is there, and no part begins that may not end in time. `middle` is the speed while
the card is full, between the first third and the last fifth of the pages, and is told only of a run of six fillings of
the card or more. A page ends after half to one and a half times the tokens named, chosen by lot; pages that are all
equally long would end, and be taken in, in waves. A part that runs out of time is told of as far as it came.
"""
# ruff: noqa: SLF001, E501 - it measures what the engine hides, and its tables are wide

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench/quality"), str(ROOT / "tests/vllm")]

import drawn  # noqa: E402 - found through the path above
from watcher import BEGAN, FIGURES, Watcher, tell  # noqa: E402

from ocrd.config import loader  # noqa: E402
from ocrd.config.profile import DEFAULT  # noqa: E402
from ocrd.config.resolving import shipped  # noqa: E402
from ocrd.config.vllm import VllmSettings  # noqa: E402
from ocrd.daemon.supervisor import Daemon  # noqa: E402
from ocrd.engines.vllm import deepseek, setup  # noqa: E402
from ocrd.engines.vllm.engine import VllmEngine  # noqa: E402
from ocrd.engines.vllm.replica import Replica  # noqa: E402
from ocrd.model import PageImage, PagePreparer, Reading  # noqa: E402

DOCUMENT = 8
"""Pages of a document."""
PLANNED = 12.0
"""Pages a second: no part begins that would not end in time at this speed."""
SOME = ("single", "card", "pair", "spread")
"""Parts in which the daemon has some of the engines."""
FILLINGS = 6
"""Of the card, in a run long enough to tell its speed while it is full."""
os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"  # functions of this file are sent into EngineCore
UPSTREAM_NGRAM = "vllm.model_executor.models.deepseek_ocr:NGramPerReqLogitsProcessor"


class Stopwatch:
    """The engine as the daemon has it: resident already, and timed page by page."""

    def __init__(self, engine: VllmEngine, window: int | None = None) -> None:
        self._engine = engine
        self.window = window or engine.window
        self.page_size = engine.page_size
        self.prepare = engine.prepare
        self.info = engine.info
        self.ends: list[float] = []
        self.tokens: list[int] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else an engine has
        return getattr(self._engine, name)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def read(self, page: PageImage, **how: Any) -> Reading:  # noqa: ANN401 - as the engine takes it
        """Read a page; noise would look like a page to be read again, so a made-up text stands for it."""
        reading = await self._engine.read(page, **how)
        self.ends.append(time.monotonic())
        self.tokens.append(reading.tokens)
        return replace(reading, text=drawn.text(page.index), finish_reason="stop")


class Bench:
    """One engine, and the parts of the measurement."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.root = Path(tempfile.mkdtemp(prefix="ocrd-gpu-"))
        self.part = ""
        self.watch: Stopwatch
        self.profile = shipped(options.profile)
        self.engine = VllmEngine(self.settings(), self.root / "engines", self.profile)

    def settings(self) -> VllmSettings:
        from tiny_models import make

        tiny, devices = self.options.tiny, self.options.devices
        return VllmSettings(
            model=str(make(self.root / "model", self.profile.architectures[0], real=not tiny)),
            max_tokens=self.options.tokens,
            max_num_seqs=self.options.seqs,
            max_num_batched_tokens=self.options.batched,
            max_model_len=8192,
            renderer_num_workers=8,
            gpu_memory_utilization=0.3 if tiny else self.options.share,
            devices=devices if devices == "auto" else tuple(map(int, devices.split(","))),
            engines_per_card=self.options.engines_per_card,
            runner=self.options.runner,
            kv_cache_dtype=self.options.kv_cache_dtype,
            extra={"load_format": "dummy", "dtype": "float32" if tiny else "bfloat16"}
            | ({"enforce_eager": True, "skip_mm_profiling": True} if tiny else {})
            | json.loads(self.options.extra),
        )

    async def start(self) -> None:
        """Start the engines, all of them."""
        began = time.monotonic()
        await self.engine.start()
        tell("start until the first reads", f"{time.monotonic() - began:.0f} s")
        tell("phases of the start, seconds", self.engine.replicas[0].phases)
        await self.engine._growing
        tell("start until all read", f"{time.monotonic() - began:.0f} s, {len(self.engine.replicas)} engines")
        tell("engine", self.engine.info.facts)
        for one in self.engine.replicas:
            self._end_by_lot(one)

    def _end_by_lot(self, replica: Replica) -> None:
        core = replica.core
        settings, dice, tokens = self.engine._settings, random.Random(1), self.options.tokens  # noqa: S311 - no secret
        bans = {
            "ngram_size": settings.ngram_size,
            "window_size": settings.window_size,
            "whitelist_token_ids": list(settings.whitelist_token_ids),
        }
        core._params = lambda *_: core._sampling(
            max_tokens=dice.randint(tokens // 2, tokens + tokens // 2),
            ignore_eos=True,
            extra_args=bans if settings.ngram_size else None,
        )

    def reading(self, part: str) -> list[Replica]:
        """List the engines that read in a part."""
        replicas = self.engine.replicas
        cards = [one.home.cards for one in replicas]
        spread = [one for number, one in enumerate(replicas) if one.home.cards not in cards[:number]]
        card = [one for one in replicas if one.home.cards == cards[0]]
        return {"single": replicas[:1], "card": card, "pair": spread[:2], "spread": spread}.get(part, replicas)

    @contextlib.contextmanager
    def only(self, replicas: list[Replica]) -> Iterator[None]:
        """Let only these read."""
        all_of_them, self.engine.replicas = self.engine.replicas, replicas
        try:
            yield
        finally:
            self.engine.replicas = all_of_them

    def cores(self) -> list[int | None]:
        return [one.home.pid for one in self.engine.replicas]

    def report(self, began: float, flight: int) -> None:
        """Tell the speed of the part, as far as it came."""
        ends, tokens = sorted(self.watch.ends), self.watch.tokens
        if not ends:
            tell(f"{self.part}: pages/s", "no page was read")
            return
        middle = f"not told of fewer than {FILLINGS * flight} pages"
        if len(ends) >= FILLINGS * flight:
            low, high = len(ends) // 3, 4 * len(ends) // 5
            middle = f"{(high - low) / (ends[high] - ends[low]):.2f}"
        tell(f"{self.part}: pages/s", f"{len(ends) / (ends[-1] - began):.2f} of {len(ends)} pages, middle {middle}")
        tell(f"{self.part}: tokens a page", f"{sum(tokens) / len(tokens):.0f}")

    async def memory(self, count: int, flight: int) -> None:
        """Read pages that lie ready in memory."""
        pages = await asyncio.to_thread(self.ready_pages, 32)
        watch = self.watch = Stopwatch(self.engine)
        places = asyncio.Semaphore(flight)

        async def one(page: PageImage) -> None:
            async with places:
                await watch.read(page)

        began = time.monotonic()
        try:
            async with Watcher(self.cores(), self.part).watch():
                await asyncio.gather(*map(one, itertools.islice(itertools.cycle(pages), count)))
        finally:
            self.report(began, flight)

    def ready_pages(self, count: int) -> list[PageImage]:
        import pymupdf
        from PIL import Image

        pages = []
        with pymupdf.open(self.sources[0]) as document:
            size = self.engine.page_size(*drawn.A4)
            for index in range(count):
                pixmap = document[index % DOCUMENT].get_pixmap(dpi=150)
                image = Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)
                image = image.resize((size.width, size.height))
                image.putpixel((index, 0), (255, 0, 0))
                views = self._views(image)
                pages.append(PageImage(index, size, b"" if views else image.tobytes(), 150, prepared=views))
        return pages

    def _views(self, image: Any) -> memoryview | None:  # noqa: ANN401 - Pillow's
        if not (views := self.engine.prepare):
            return None
        memory = memoryview(bytearray(views.room))
        return memory[: views(image, memory)]

    async def daemon(self, count: int, flight: int) -> None:
        """Let the daemon work off an inbox."""
        folder = Path(tempfile.mkdtemp(prefix="house-", dir=self.root))
        for role in ("inbox", "outbox", "archive", "error"):
            (folder / role).mkdir(parents=True)
        roles = "".join(f"    {role}: {folder}/{role}\n" for role in ("inbox", "outbox", "archive", "error"))
        (folder / "ocrd.yaml").write_text(
            f"settle: {{quiet: 200ms}}\nbatch: {{quiet: 100ms}}\nrender: {{{self.options.render}}}\nwatches:\n  - name: gpu\n{roles}"
            "    pages: {second_readings: [], text_layer: ignore}\n"  # noise would be read again and again
        )
        for number in range(count // DOCUMENT):
            shutil.copy(self.sources[number % len(self.sources)], folder / "inbox" / f"{number}.pdf")
        self.watch = Stopwatch(self.engine, flight * len(self.engine.replicas) + 16)
        daemon = Daemon(loader.load(folder / "ocrd.yaml"), self.watch, once=True)
        began = time.monotonic()
        try:
            async with Watcher(self.cores(), self.part).watch():
                await daemon.run()
        finally:
            self.report(began, flight)
        seconds = time.monotonic() - began
        outbox = len(list((folder / "outbox").glob("*.md")))
        tell(
            f"{self.part}: from the first look at the inbox to the last sidecar",
            f"{count / seconds:.2f} pages/s, {outbox} sidecars of {count // DOCUMENT} documents, {dict(daemon.ended)}",
        )

    async def launched(self, count: int, flight: int) -> None:
        await self._inside(use_graphs, use=False)
        try:
            await self.memory(count, flight)
        finally:
            await self._inside(use_graphs, use=True)

    async def crowded(self, count: int, flight: int) -> None:
        await self._inside(use_threads, count=os.cpu_count())
        try:
            await self.daemon(count, flight)
        finally:
            await self._inside(use_threads, count=1)

    async def _inside(self, what: Callable[..., None], **how: Any) -> None:  # noqa: ANN401 - as `what` takes it
        for one in self.engine.replicas:
            await one.core._llm.collective_rpc(what, kwargs=how)

    async def upstream(self, count: int, flight: int) -> None:
        views = self.engine.replicas[0].views
        self._take_views(None)
        try:
            await self.daemon(count, flight)
        finally:
            self._take_views(views)

    def _take_views(self, views: PagePreparer | None) -> None:
        for one in self.engine.replicas:
            one.core.views = one.views = views

    async def main(self) -> None:
        """Go through the parts."""
        self.sources = [drawn.pdf(self.root / f"{seed}.pdf", DOCUMENT, seed) for seed in range(4)]
        await self.start()
        while self.options.after and not self.options.after.exists():
            await asyncio.sleep(0.2)
        self.part = "warm-up"
        await self.memory(min(64 * len(self.engine.replicas), self.options.pages // 4), self.engine.window)
        for part in self.options.parts.split(","):
            name, _, flight = part.partition(":")
            replicas = self.reading(name)
            engines, some = len(replicas), name in SOME
            work: Callable[[int, int], Awaitable[None]] = self.daemon if some else getattr(self, name)
            count = engines * self.options.pages // (2 if name in ("upstream", "launched", "crowded") else 1)
            left = self.options.seconds - (time.monotonic() - BEGAN)
            if left < count / engines / PLANNED:
                tell(part, f"left out: {left:.0f} s are left")
                continue
            self.part = part
            try:
                async with asyncio.timeout(left):
                    with self.only(replicas):
                        await work(count, int(flight or self.options.seqs))
            except TimeoutError:
                tell(f"{part}: cut off", f"after {left:.0f} s")
            except Exception as error:  # the next part may still tell something
                tell(f"{part}: failed", repr(error))
                logging.getLogger("bench").exception(part)
        await self.engine.close()


def use_graphs(worker: Any, *, use: bool) -> None:  # noqa: ANN401 - vLLM's
    """Put the vision towers' recordings aside, or take them again. Runs in EngineCore."""
    worker.kept_graphs = getattr(worker, "kept_graphs", None) or worker._graphs()
    worker._set_graphs(worker.kept_graphs if use else None)


def use_threads(_: Any, *, count: int) -> None:  # noqa: ANN401 - vLLM's worker
    """Let torch spread over so many threads. Runs in EngineCore."""
    import torch

    torch.set_num_threads(count)


def recipe(options: argparse.Namespace) -> None:
    """Measure what vLLM's recipe does."""
    from PIL import Image
    from tiny_model import REAL, make
    from vllm import LLM, SamplingParams
    from vllm.model_executor.models.deepseek_ocr import NGramPerReqLogitsProcessor

    llm = LLM(
        model=str(make(Path(tempfile.mkdtemp()), REAL)), load_format="dummy", dtype="bfloat16",
        enable_prefix_caching=False, mm_processor_cache_gb=0, logits_processors=[NGramPerReqLogitsProcessor],
        hf_overrides=deepseek.with_head_dim, max_model_len=8192,
    )  # fmt: skip
    arguments = {"ngram_size": 30, "window_size": 90, "whitelist_token_ids": [128821, 128822]}
    params = SamplingParams(temperature=0.0, max_tokens=options.tokens, ignore_eos=True, extra_args=arguments)
    image = Image.effect_noise((1190, 1684), 60).point(lambda level: level * 3 // 4).convert("RGB")
    prompts = [{"prompt": "<image>\nFree OCR.", "multi_modal_data": {"image": image}}] * (options.pages // 4)
    llm.generate(prompts[:8], params)
    began = time.monotonic()
    llm.generate(prompts, params)
    tell("recipe: pages/s", f"{len(prompts) / (time.monotonic() - began):.2f} of {len(prompts)} pages")


if __name__ == "__main__":  # vLLM's processes import this file
    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="daemon,memory,launched,daemon:256")
    parser.add_argument("--profile", default=DEFAULT, help="unlimited-ocr, ovis-ocr-2 or lighton-ocr-2 instead")
    parser.add_argument("--share", default=0.9, type=float, help="engine.vllm.gpu_memory_utilization")
    parser.add_argument("--after", type=Path, help="once started, wait for this file: the --json of a run beside this")
    parser.add_argument("--pages", type=int, default=1024, help="of a part, for each engine that reads")
    parser.add_argument("--tokens", type=int, default=800)
    parser.add_argument("--seqs", type=int, default=512)
    parser.add_argument("--batched", type=int, default=16384)
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument(
        "--devices", default="auto", help="engine.vllm.devices: auto, or numbers with commas between them"
    )
    parser.add_argument("--engines-per-card", default=1, type=int, choices=(1, 2), help="2: under CUDA MPS")
    parser.add_argument("--render", default="", help="settings of the section render, as `workers: 24, images: 2GiB`")
    parser.add_argument("--runner", default="auto", choices=("auto", "v1", "v2"))
    parser.add_argument("--kv-cache-dtype", default="auto", choices=("auto", "fp8"))
    parser.add_argument("--extra", default="{}", help="further engine arguments of vLLM, as JSON")
    parser.add_argument("--upstream-ngram", action="store_true")
    parser.add_argument("--tiny", action="store_true", help="a model for the CPU, to try this script")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.upstream_ngram:
        setup.NGRAM_PROCESSORS["v1"] = UPSTREAM_NGRAM
    try:
        if chosen.parts == "recipe":
            recipe(chosen)
        else:
            asyncio.run(Bench(chosen).main())
    finally:
        if chosen.json:
            chosen.json.write_text(json.dumps(FIGURES, indent=1, default=str))
