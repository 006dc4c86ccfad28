"""The openai engine: pages are read by servers, one or many, that come and go. See `ocrd.engines.base.Engine`.

What a server fails at goes to another one; while none answers, pages wait.
"""

import asyncio
import importlib
import itertools
import logging
import re
from collections.abc import Generator, Iterable
from contextlib import closing

from ocrd.config import profile as profiles
from ocrd.config import secret_file
from ocrd.config.openai import OpenAiSettings
from ocrd.config.profile import Profile
from ocrd.display import pip
from ocrd.engines import vision_model
from ocrd.engines.base import Engine, EngineInfo, Finding
from ocrd.engines.openai import address, answers, page_png, requests
from ocrd.engines.openai.endpoint import Endpoint, State
from ocrd.engines.openai.faults import Refusal, ServerFault
from ocrd.engines.openai.limiter import MOST, Limiter
from ocrd.engines.openai.page_png import PngPages
from ocrd.engines.openai.prover import Prover
from ocrd.engines.openai.servers import Known, Servers
from ocrd.engines.openai.visit import Visit
from ocrd.engines.vllm import image_size
from ocrd.errors import ConfigError, MachineError
from ocrd.model import DEFAULT_APPROACH, Approach, EngineState, PageImage, PageSizer, Reading, Rung

log = logging.getLogger(__name__)

SILENCE = 30.0
"""Seconds without an answer of a server with pages, after which it is asked for a sign of life."""
START_SECONDS = 180.0
"""For which the start waits for the first server: as long as one takes to load its model."""
PROOF_SECONDS = 120.0
"""That the test page may take; a page of its own may have longer."""


class OpenAiEngine(Engine):
    """Reads pages with a model that servers run."""

    def __init__(self, settings: OpenAiSettings, profile: Profile, *, silence: float = SILENCE) -> None:
        """Take the settings, the model's profile, and when a silent server is asked. Raises ConfigError."""
        if not settings.endpoints:
            raise ConfigError(
                "engine.kind is openai, and engine.openai.endpoints names no server.",
                "Write where they are, such as http://gpu1:8000/v1.",
            )
        self._settings, self._profile, self._silence = settings, profile, silence
        self._orders = itertools.count()
        self._servers: Servers | None = None

    @property
    def info(self) -> EngineInfo:
        """Valid once started."""
        proofs = [one.proof for one in self._started.known if one.proof]
        named = () if self._profile.name == profiles.DEFAULT else (f"profile {self._profile.name}",)
        facts = (f"{one.endpoint.name}: {_in_words(one)}" for one in self._started.known)
        return EngineInfo(
            "openai",
            self._started.model,
            ", ".join(sorted({proof.server for proof in proofs})) or "no server",
            requests.fingerprint(self._started.model, self._profile),
            (*named, *facts),
        )

    @property
    def window(self) -> int:
        """As many pages as all servers may have."""
        return len(self._settings.endpoints) * (MOST if self._fixed is None else self._fixed)

    @property
    def _fixed(self) -> int | None:
        """Pages at one server, if the owner set that."""
        return self._settings.concurrency if isinstance(self._settings.concurrency, int) else None

    @property
    def page_size(self) -> PageSizer:
        """Exactly the pixels that the model sees."""
        return vision_model.page_size(self._profile.image)

    @property
    def prepare(self) -> PngPages | None:
        """The PNG of a page, where its size is bounded."""
        pixels = image_size.most_pixels(self._profile.image)
        return PngPages(self._profile.image, pixels) if pixels else None

    @property
    def rungs(self) -> dict[Rung, Approach]:
        """Every way; the other prompt only where it is another one."""
        return vision_model.rungs(self._profile.prompt, self._profile.other_prompt)

    @property
    def state(self) -> EngineState:
        """Away while no server answers."""
        if self._servers is None:
            return EngineState("loading")
        servers = self._servers.states()
        if any(one.up or one.pages for one in servers):
            return EngineState(servers=servers)
        doing = "away" if self._servers.model else "loading"
        return EngineState(doing, progress=f"no server answers: {self._servers.why_none()}", servers=servers)

    def accept(self, approach: Approach) -> None:
        """Raise DocumentError for languages: the model finds out by itself what it reads."""
        vision_model.refuse_languages(approach)

    def preflight(self) -> Iterable[Finding]:
        """Ask each server what it is, and let it read the test page."""
        return asyncio.run(self._look())

    async def _look(self) -> list[Finding]:
        known = await self._connect()
        prover = self._prover()
        largest = 4 * self.prepare.room // 3 if self.prepare else 0  # in a request, which has it in base64

        async def look(one: Known) -> Finding:
            what = f"server {one.endpoint.name}"
            try:
                one.proof = await prover.prove(one.client, largest)
            except ServerFault as fault:
                error = getattr(fault, "error", None)
                remedy = "Start it, wait until it has loaded its model, or look at its log."
                return Finding(what, error or MachineError(_sentence(str(fault)), remedy))
            plain = "; pages go there unencrypted" if await one.address.is_open_to_the_world() else ""
            return Finding(what, f"{one.proof.in_words()}{plain}")

        try:
            return list(await asyncio.gather(*map(look, known)))
        finally:
            await asyncio.gather(*(one.client.close() for one in known))

    async def start(self) -> None:
        """Ask all servers, and wait for the first. Raises ConfigError, EngineError."""
        known = await self._connect()
        self._servers = Servers(known, self._prover(), self._silence)
        for one in known:
            if await one.address.is_open_to_the_world():
                log.warning(
                    "pages go unencrypted over the Internet to %s: give an address with https", one.endpoint.name
                )
        await self._servers.start(START_SECONDS)

    async def _connect(self) -> list[Known]:
        """Make ready to speak to each server. Raises ConfigError."""
        key = self._key()
        try:
            client = await asyncio.to_thread(importlib.import_module, "ocrd.engines.openai.client")
        except ImportError as error:
            raise ConfigError(
                f"engine.kind is openai, and its client can't be loaded: {error}.",
                f"Run `{pip('openai>=3.57')}`.",
            ) from error
        places = {name: address.parse(name) for name in self._settings.endpoints}
        return [
            Known(Endpoint(name, Limiter(self._settings.timeout, self._fixed)), place, client.Client(place, key))
            for name, place in places.items()
        ]

    def _key(self) -> str:
        """Read the key. Raises ConfigError."""
        file = self._settings.api_key_file
        if file is None:
            return ""
        try:
            key = secret_file.read(file, "engine.openai.api_key_file", "the key alone").strip()
        except MachineError as error:
            raise ConfigError(error.what, error.remedy) from error
        if not re.fullmatch(rb"[!-~]+", key):
            raise ConfigError(
                f"engine.openai.api_key_file {file} does not hold one key.", "Write the key alone into it, on one line."
            )
        return key.decode()

    def _prover(self) -> Prover:
        seconds = min(PROOF_SECONDS, self._settings.timeout)
        return Prover(self._profile, self.page_size, self._settings.model, seconds)

    @property
    def _started(self) -> Servers:
        if self._servers is None:
            raise RuntimeError("the engine is not started")
        return self._servers

    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:
        """Read one page; see `Engine.read`."""
        servers = self._started
        visit = Visit(page.index, priority, next(self._orders), asyncio.get_running_loop().create_future())
        try:
            while True:
                server = await servers.enter(visit)
                try:
                    reading = await self._attempt(server, visit, page, approach)
                except (ServerFault, Refusal) as fault:
                    servers.failed(visit, server, fault)
                else:
                    servers.has_read(visit, server)
                    return reading
                finally:
                    servers.leave(visit, server)
                if page.again:  # whoever waits for another server holds no place of an image meanwhile
                    page.free()
                    page = await page.again()
        finally:
            page.free()

    async def _attempt(self, server: Known, visit: Visit, page: PageImage, approach: Approach) -> Reading:
        """Let a server read a page, within the time that it has. Raises ServerFault, Refusal."""
        if server.proof is None:
            raise AssertionError(server.endpoint.name)
        image = page.prepared
        if image is None:
            image = memoryview(await asyncio.to_thread(page_png.of_page, page, self._profile.image))
        body = requests.body(server.proof.model, self._profile, page.size, approach)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            visit.given_up = None
            async with asyncio.timeout(self._settings.timeout) as visit.limit:
                data = await _send(server, page, body, image)
        except TimeoutError:
            seconds = self._settings.timeout
            raise visit.given_up or ServerFault(f"it did not answer within {seconds:g} s") from None
        finally:
            visit.limit = None
        return answers.reading(page, answers.answer(data), self._profile, approach, loop.time() - began)

    async def close(self) -> None:
        """Give up the pages that are with the servers, and close all connections."""
        if self._servers:
            await self._servers.close()


async def _send(server: Known, page: PageImage, body: requests.Body, image: memoryview) -> bytes:
    """Send a request and return the answer. The image is freed once it is sent, if it can be had again."""
    on_its_way = True

    def sent() -> None:
        nonlocal on_its_way
        if on_its_way:
            on_its_way = False
            server.sending.release()
            if page.again:
                page.free()

    def pieces() -> Generator[bytes]:
        yield from body.pieces(image)
        sent()

    await server.sending.acquire()
    try:
        with closing(pieces()) as going:
            return await server.client.chat(going, body.length(len(image)))
    finally:
        sent()


def _in_words(server: Known) -> str:
    if server.endpoint.state is State.UP and server.proof:
        return server.proof.in_words()
    return f"out: {server.endpoint.why}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
