"""One life of the model's process, as the daemon sees it: started, asked, listened to, and ended. See `worker`."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import sys
from dataclasses import asdict
from typing import Any, Self

from ocrd import errors
from ocrd.concurrency import own_code, processes
from ocrd.engines import vision_model
from ocrd.engines.core_supervisor import CoreDied
from ocrd.engines.probe_page import TEST_TEXT, test_page
from ocrd.engines.transformers.model import Asked
from ocrd.engines.transformers.setup import Orders
from ocrd.errors import EngineError, MachineError, OcrdError, PageError
from ocrd.markup import dialects
from ocrd.model import DEFAULT_APPROACH, Approach, PageImage, PageSizer, Reading

log = logging.getLogger(__name__)

LOADING = 1800.0
"""Seconds that a model may take to load, and to read its test page."""
TEST_TOKENS = 64
"""Enough for the text of the test page, and few for a model that doesn't stop."""
CLOSING = 5.0
"""Seconds that a killed process may take to end."""
_LINE = 2**24
"""Bytes of a message, at most; the text of a page has a hundredth of that."""
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # what it needs was fetched before
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",  # its threads would compete with torch's
}


class TransformersCore:
    """One life of the model's process. See `core_supervisor.Core`."""

    def __init__(
        self,
        orders: Orders,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Take a process that was started, and the connection to it."""
        self._profile = orders.profile
        self._process, self._reader, self._writer = process, reader, writer
        self._loop = asyncio.get_running_loop()
        self._names = itertools.count()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tokens: dict[str, int] = {}
        self._killed = self._ended = False
        self._listening: asyncio.Task[None] | None = None
        self._batch, self._last_batch = orders.batch or 1, 0
        self.last_sign = self._loop.time()
        self.facts: tuple[str, ...] = ()
        """What a person should know of the running model."""
        self.generated = 0
        """Tokens so far, as far as the process has told."""

    @classmethod
    async def start(cls, orders: Orders, sizer: PageSizer) -> Self:
        """Start the process, let it load the model and read a test page. Raises ConfigError, EngineError."""
        try:
            own_code.check()
        except MachineError as error:
            raise EngineError(error.what, error.remedy) from error
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _code(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # what libraries print must not come among what a command prints
                pass_fds=[theirs.fileno()],
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,  # Ctrl-C is the daemon's to handle
            )
        processes.offer_to_oom_killer(process.pid)
        core = cls(orders, process, *await asyncio.open_connection(sock=ours, limit=_LINE))
        try:
            async with asyncio.timeout(LOADING):
                await core._load(orders)
                await core._prove(sizer)
        except BaseException as error:
            await core.close()
            if isinstance(error, TimeoutError):
                what = f"The model {orders.model} did not load and read a test page within {LOADING:g} s."
                raise EngineError(what, "Is its disk slow, the memory short, or the device too slow for it?") from error
            raise
        return core

    async def _load(self, orders: Orders) -> None:
        told = asdict(orders) | {"profile": orders.profile.model_dump(mode="json")}
        self._writer.write(json.dumps({"orders": told}).encode() + b"\n")
        try:
            answer = json.loads(await self._reader.readline() or "{}")
        except (OSError, ValueError):
            answer = {}
        if "refused" in answer:
            kind, what, remedy = answer["refused"]
            refusal: type[OcrdError] = getattr(errors, kind)
            raise refusal(what, remedy)
        if "ready" not in answer:
            code = await self._process.wait()
            why = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise EngineError(
                f"The process that was to load {orders.model} {why}.",
                "Is there memory enough for it? See its messages above, and the kernel's.",
            )
        ready = answer["ready"]
        self._batch, self.last_sign = ready["batch"], self._loop.time()
        self.facts = (f"{ready['class']} on {ready['device']} in {ready['dtype']}", f"batches of {ready['batch']}")
        self._listening = asyncio.create_task(self._listen())

    async def _prove(self, sizer: PageSizer) -> None:
        page = test_page(lambda width, height: sizer(width / 2, height / 2))
        try:
            asked = self._asked(page, DEFAULT_APPROACH)
            told = await self._ask(page, 0, asked._replace(max_tokens=min(TEST_TOKENS, asked.max_tokens)))
        except (CoreDied, PageError) as error:
            raise EngineError(
                f"The model was loaded, but could not read its test page: {error}",
                "See the messages of its process above for the cause.",
            ) from error
        text = told["text"]
        if TEST_TEXT in text:
            self.facts += (f"read its test page: {TEST_TEXT}",)
        else:
            log.warning("the model read its test page, %r, as %r", TEST_TEXT, text)
            self.facts += (f"did not read its test page ({TEST_TEXT}), but: {text[:80]!r}",)

    @property
    def alive(self) -> bool:
        """Whether it still takes pages."""
        return not (self._killed or self._ended)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def batch(self) -> int:
        """Most pages that it reads at once; after its end, that the next one should.

        What kills it and is not ocrd is taken for the kernel, which does so where memory is short.
        """
        starved = self._ended and not self._killed and self._process.returncode == -signal.SIGKILL
        return max(1, min(self._batch, self._last_batch) // 2) if starved else self._batch

    async def read(self, page: PageImage, priority: int, approach: Approach) -> Reading:
        """Read one page."""
        began = self._loop.time()
        told = await self._ask(page, priority, self._asked(page, approach))
        prompt = approach.prompt or self._profile.prompt
        text, missed = vision_model.normalised(told["text"], self._profile, prompt, page.size)
        seconds, reason = self._loop.time() - began, told["finish_reason"]
        return Reading(page.index, text, reason, told["tokens"], seconds, bans=told["bans"], missed_dialect=missed)

    def _asked(self, page: PageImage, approach: Approach) -> Asked:
        """Say what is asked for a page: as the profile has it, but for what the approach wants otherwise."""
        profile = self._profile
        prompt = approach.prompt or profile.prompt
        size = profile.ngram_size if approach.ngram_size is None else approach.ngram_size
        window = profile.window_size if approach.window_size is None else approach.window_size
        return Asked(
            page.size.width,
            page.size.height,
            prompt,
            profile.max_tokens,
            profile.temperature if approach.temperature is None else approach.temperature,
            size or 1,
            window or 100,
            profile.whitelist_token_ids,
            dialects.DIALECTS[vision_model.dialect(profile, prompt)].special_tokens,
        )

    async def _ask(self, page: PageImage, priority: int, asked: Asked) -> dict[str, Any]:
        """Return what the process says of a page. Cancelling gives the page up. Raises CoreDied, PageError."""
        name = next(self._names)
        answer = self._answers[name] = self._loop.create_future()
        try:
            self._send({"page": name, "priority": priority, "asked": asked})
            self._writer.write(page.pixels)
            await self._writer.drain()
            told: dict[str, Any] = await answer
        except OSError as error:
            raise CoreDied(str(error)) from error
        finally:
            del self._answers[name]
            if self.alive and (answer.cancelled() or not answer.done()):
                self._send({"cancel": name})
        if "failed" in told:
            raise PageError(
                f"The model failed on a page image of {page.size.width} x {page.size.height} pixels: {told['failed']}.",
                "Scan the page again, or try another engine for this document.",
            )
        return told

    def _send(self, message: dict[str, Any]) -> None:
        if not self.alive:
            raise CoreDied("the model's process is gone")
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def _listen(self) -> None:
        """Take what the process says, until it ends; what is no message ends it."""
        try:
            while line := await self._reader.readline():
                self._take_in(json.loads(line))
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.warning("the model's process said what is no message, and is ended: %r", error)
            self.kill()
        finally:
            self._ended, self._last_batch = True, len(self._answers)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(CoreDied("the model's process ended"))

    def _take_in(self, told: dict[str, Any]) -> None:
        self.last_sign = self._loop.time()
        if "so_far" in told:
            for name, count in told["so_far"].items():
                self.generated += max(0, count - self._tokens.get(name, 0))
            self._tokens = told["so_far"]
        elif "batch" in told:
            self._batch = told["batch"]
            log.warning("the memory is too short for so many pages at once: %d are read from now on", self._batch)
        elif (answer := self._answers.get(told["page"])) and not answer.done():
            answer.set_result(told)

    async def sleep(self) -> None:
        """Have nothing to put to sleep."""

    async def wake(self) -> None:
        """Have nothing to wake."""

    def kill(self) -> None:
        """End the process at once; every page in it raises CoreDied."""
        self._killed = self._killed or not self._ended
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """End the process, and wait a little for that."""
        self.kill()
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._process.wait()
                if self._listening:
                    await self._listening


def _code(descriptor: int) -> str:
    return (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from ocrd.engines.transformers import worker; worker.live({descriptor}, {os.getpid()})"
    )
