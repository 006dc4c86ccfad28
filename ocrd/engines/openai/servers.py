"""The servers of an engine: asked at the start, watched while they have pages, and asked again after they failed."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ocrd.engines.openai.address import Address
from ocrd.engines.openai.endpoint import Endpoint, State
from ocrd.engines.openai.faults import (
    Crowded,
    Disagreement,
    Lost,
    Misconfigured,
    Overloaded,
    Refusal,
    RefusesAll,
    ServerFault,
    TooLarge,
)
from ocrd.engines.openai.pool import Pool
from ocrd.engines.openai.prover import Asked, Proof, Prover
from ocrd.engines.openai.visit import Visit
from ocrd.errors import ConfigError, EngineError
from ocrd.model import ServerState

log = logging.getLogger(__name__)

SENDING = 8
"""Pages that are sent to one server at the same time."""
LOOKS = 6
"""In the time after which a silent server is asked for a sign of life."""


class Server(Asked, Protocol):
    """The way to one server; `client.Client` is one."""

    async def close(self) -> None:
        """Close all connections."""
        ...


@dataclass(eq=False)
class Known:
    """One server."""

    endpoint: Endpoint
    address: Address
    client: Server
    sending: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SENDING))
    """Held while a page is on its way there: with all of them at once, none would arrive in time."""
    proof: Proof | None = None
    """What it has shown of itself; None until it did."""
    mistake: Misconfigured | None = None
    """What somebody must mend before it can be used."""
    told_crowded: bool = False
    """Whether the log says that its pages have no room together."""
    takes: int = 0
    """Bytes of the largest request that it took when it was asked again since it would not have one as large."""
    task: "asyncio.Task[None] | None" = None
    """Asks it again, while it is out."""


class Servers:
    """All of them. For one event loop, in which it is made."""

    def __init__(self, known: Sequence[Known], prover: Prover, silence: float) -> None:
        """Take the servers, and after how many seconds without an answer one with pages is asked for a sign of life."""
        self._loop = asyncio.get_running_loop()
        self._prover = prover
        self._silence = silence
        self._of = {one.endpoint: one for one in known}
        self._watching: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self._closed = False
        self.model = ""
        """That all run, as they call it; empty before the first reads."""
        self.pool = Pool(tuple(self._of), self._loop.time)

    @property
    def known(self) -> tuple[Known, ...]:
        """All, in the order of the configuration."""
        return tuple(self._of.values())

    # -- their life -----------------------------------------------------------------------------------------------

    async def start(self, patience: float) -> None:
        """Ask all of them, and wait so many seconds for the first. Raises ConfigError, EngineError."""
        await asyncio.gather(*(self._ask(one) for one in self.known))
        mistakes = [(one, one.mistake) for one in self.known if one.mistake]
        for one, mistake in mistakes:
            if len(mistakes) == len(self.known) or isinstance(mistake, Disagreement):
                raise _unusable(one, mistake)
        self._watching = asyncio.create_task(self._watch())
        out = [one for one in self.known if one.endpoint.state is State.OUT]
        for one in out:
            one.task = asyncio.create_task(self._revive(one))
        self._tell_out(out)
        try:
            async with asyncio.timeout(patience):
                await self._first.wait()
        except TimeoutError:
            raise EngineError(
                f"No server answers. {self.why_none()}",
                "Start one, or mend engine.openai.endpoints; `ocrd check` asks each of them.",
            ) from None

    async def close(self) -> None:
        """Stop asking, and close all connections."""
        self._closed = True
        self.pool.close()
        tasks = [task for task in (self._watching, *(one.task for one in self.known)) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(one.client.close() for one in self.known))

    def states(self) -> tuple[ServerState, ...]:
        """Say how each server is."""
        away = [(one.endpoint, one.endpoint.away(self._loop.time())) for one in self.known]
        return tuple(ServerState(one.name, not why, one.inside, why) for one, why in away)

    def why_none(self) -> str:
        """Say of each server that gets no pages why."""
        return " ".join(f"{one.name}: {one.why.rstrip('.')}." for one in self.states() if one.why)

    # -- what pages do there --------------------------------------------------------------------------------------

    async def enter(self, visit: Visit) -> Known:
        """Wait for a server for a page. Raises PageError if the page is at fault."""
        return self._of[await self.pool.enter(visit)]

    def leave(self, visit: Visit, server: Known) -> None:
        """Take a page away from a server."""
        self.pool.leave(visit, server.endpoint)

    def has_read(self, visit: Visit, server: Known) -> None:
        """Take in that a server read a page."""
        was_up = server.endpoint.state is State.UP
        if not was_up and isinstance(server.mistake, TooLarge):  # small pages show nothing of what is in the way
            return
        server.endpoint.read(visit.began, self._loop.time())
        if not was_up:
            self._comes_back(server)

    def failed(self, visit: Visit, server: Known, fault: ServerFault | Refusal) -> None:
        """Take in that a server failed with a page, or would not have it."""
        endpoint, now = server.endpoint, self._loop.time()
        was_up = endpoint.state is State.UP
        match fault:
            case Refusal():
                visit.refused(endpoint, fault)
                endpoint.refused(now)
            case Overloaded():
                endpoint.overloaded(fault.wait, visit.began, now)
            case Crowded() if visit.company:
                visit.crowded += 1
                self._tell_crowded(server, fault)
                endpoint.crowded(visit.began, now)
            case TooLarge() if endpoint in visit.measured and fault.length <= server.takes:
                visit.refused(endpoint, Refusal(fault.error.what))  # it took as much, and won't have this page alone
                endpoint.refused(now)
            case Misconfigured():
                if isinstance(fault, TooLarge):
                    visit.measured.add(endpoint)
                server.mistake = fault
                endpoint.failed(str(fault), visit.began, now)
            case _:
                visit.failed(endpoint, fault)
                endpoint.failed(str(fault), visit.began, now)
        log.debug("page %d at %s: %s", visit.index + 1, endpoint.name, fault)
        if was_up and endpoint.state is State.OUT and not self._closed:
            self._tell_out([server])
            if server.task is None or server.task.done():
                server.task = asyncio.create_task(self._revive(server))

    # -- out, and back --------------------------------------------------------------------------------------------

    def _tell_out(self, servers: Sequence[Known]) -> None:
        """Say once of each server that it is out, or that all are."""
        if not self.pool.up:
            log.error("no server answers, and pages wait until one does: %s", self.why_none())
            return
        for one in servers:
            log.warning("the server %s is out, and others read its pages: %s", one.endpoint.name, one.endpoint.why)

    def _tell_crowded(self, server: Known, fault: Crowded) -> None:
        """Say once of a server that it gets fewer pages than it was given."""
        if not server.told_crowded:
            log.warning("the server %s gets fewer pages at a time, since %s", server.endpoint.name, fault)
        server.told_crowded = True

    def _comes_back(self, server: Known) -> None:
        log.info("the server %s reads", server.endpoint.name)
        self._first.set()

    async def _revive(self, server: Known) -> None:
        """Ask a server that is out again and again, until it reads."""
        endpoint = server.endpoint
        while True:
            await asyncio.sleep(max(0.0, endpoint.rests_until - self._loop.time()))
            if endpoint.state is State.UP:  # by a page that was still with it
                return
            await self._ask(server)
            self.pool.changed()

    async def _ask(self, server: Known) -> None:
        """Find out whether a server reads."""
        endpoint, began, said = server.endpoint, self._loop.time(), server.mistake
        try:
            proof = await self._prover.prove(server.client, said.length if isinstance(said, TooLarge) else 0)
            self._check_model(proof)
        except Misconfigured as fault:
            server.mistake = fault
            if endpoint.state is State.OUT and str(said) != str(fault):  # of one that was never up, the start tells
                log.error("%s", _unusable(server, fault))  # noqa: TRY400 - its sentences tell all
            endpoint.failed(str(fault), began, self._loop.time())
        except ServerFault as fault:
            endpoint.refused_tests += isinstance(fault, RefusesAll)
            endpoint.failed(str(fault), began, self._loop.time())
        except Exception:  # a defect of ours; the server is asked again, as after any failure
            log.exception("the server %s could not be asked", endpoint.name)
            endpoint.failed("it could not be asked", began, self._loop.time())
        else:
            lacks = (proof.lack if self._prover.profile.ngram_size else "", proof.too_short)
            for lack in filter(None, lacks if server.proof is None else ()):
                log.warning("the server %s reads, but %s", endpoint.name, lack)
            was_up = endpoint.state is State.UP
            server.proof, server.mistake = proof, None
            if isinstance(said, TooLarge):
                server.takes = said.length
            endpoint.proved(self._loop.time())
            if not was_up:
                self._comes_back(server)

    def _check_model(self, proof: Proof) -> None:
        """Refuse a server that runs another model than the first. Raises Misconfigured."""
        self.model = self.model or proof.model.name
        if proof.model.name != self.model:
            raise Disagreement(
                f"It runs {proof.model.name}, and another runs {self.model}.",
                "Let all servers run the same model under one name (vLLM: --served-model-name, llama.cpp: --alias), or "
                "set engine.openai.model to one that each of them lists.",
            )

    async def _watch(self) -> None:
        """Ask servers for a sign of life that have pages and gave none for long."""
        while True:
            await asyncio.sleep(self._silence / LOOKS)
            await asyncio.gather(*(self._ask_for_sign(one) for one in self.known if self._is_silent(one.endpoint)))

    def _is_silent(self, endpoint: Endpoint) -> bool:
        return endpoint.inside > 0 and self._loop.time() - endpoint.last_sign > self._silence

    async def _ask_for_sign(self, server: Known) -> None:
        """Give the pages of a server up that does not answer at all, so that others read them."""
        try:
            await self._prover.model(server.client)
        except Lost as fault:
            for visit in self.pool.inside(server.endpoint):
                visit.give_up(fault)
        except ServerFault:
            server.endpoint.last_sign = self._loop.time()
        else:
            server.endpoint.last_sign = self._loop.time()


def _unusable(server: Known, mistake: Misconfigured) -> ConfigError:
    return ConfigError(f"The server {server.endpoint.name} can't be used. {mistake.error.what}", mistake.error.remedy)
