"""The transformers engine: a model in a process of its own, which is started anew when it dies or hangs."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import replace

from ocrd.config import profile as profiles
from ocrd.config.profile import Profile
from ocrd.config.transformers import TransformersSettings
from ocrd.engines import model_fetch, model_files, vision_model
from ocrd.engines.base import Engine, EngineInfo, Finding
from ocrd.engines.core_supervisor import CoreSupervisor
from ocrd.engines.transformers import setup
from ocrd.engines.transformers.core import TransformersCore
from ocrd.model import DEFAULT_APPROACH, Approach, EngineState, PageImage, PageSizer, Reading, Rung

log = logging.getLogger(__name__)

_WORDS = {"name", "source", "licence", "restriction"}
NO_TEXT = _WORDS | {"least_vllm", "runner", "worker_views", "tower_graphs", "arguments"}
"""What of a profile no text depends on here."""


class TransformersEngine(Engine):
    """Reads pages with a model in transformers' own class. See `ocrd.engines.base.Engine`."""

    def __init__(self, settings: TransformersSettings, profile: Profile) -> None:
        """Take the settings and the model's profile. Raises ConfigError for what can't be had together."""
        self._orders = setup.orders(settings, profile)
        self.supervisor = CoreSupervisor(self._build, settings.hang_after, name="the model's process")
        self._core: TransformersCore | None = None
        self._info: EngineInfo | None = None
        self._generated = 0
        self._fetching = ""

    @property
    def info(self) -> EngineInfo:
        """Valid once started."""
        if self._info is None:
            raise RuntimeError("the engine is not started")
        profile = self._orders.profile.name
        named = () if profile == profiles.DEFAULT else (f"profile {profile}",)
        return replace(self._info, facts=(*named, *(self._core.facts if self._core else ())))

    @property
    def window(self) -> int:
        """Two batches, so that one is there when the other is read."""
        return 2 * (self._core.batch if self._core else self._orders.batch or setup.MOST)

    @property
    def page_size(self) -> PageSizer:
        """Exactly the pixels that the model sees."""
        return vision_model.page_size(self._orders.profile.image)

    @property
    def rungs(self) -> dict[Rung, Approach]:
        """Every way; the other prompt only where it is another one."""
        return vision_model.rungs(self._orders.profile.prompt, self._orders.profile.other_prompt)

    @property
    def state(self) -> EngineState:
        """How it is, with the tokens of pages that are still being read."""
        if self._info is None:
            return EngineState("loading", progress=self._fetching or "the model is loaded")
        generated = self._generated + (self._core.generated if self._core else 0)
        return EngineState(self.supervisor.doing, restarts=self.supervisor.restarts, generated=generated)

    def accept(self, approach: Approach) -> None:
        """Raise DocumentError for languages: the model finds out by itself what it reads."""
        vision_model.refuse_languages(approach)

    def preflight(self) -> Iterable[Finding]:
        """Look at the packages, the disk and the model."""
        return setup.findings(self._orders)

    async def start(self) -> None:
        """Fetch the model, load it and let it read a test page. Raises ConfigError, EngineError."""
        wanted = self._orders
        versions = setup.check_versions()
        await asyncio.to_thread(
            model_files.check_architecture, wanted.model, wanted.revision, wanted.profile, "transformers"
        )
        await asyncio.to_thread(setup.class_name, wanted)  # before the whole of it is fetched
        model = await asyncio.to_thread(model_files.locate, wanted.model, wanted.revision, "transformers")
        if wanted.profile.restriction and wanted.model in (wanted.profile.model, wanted.profile.native_model):
            log.warning("the licence of %s restricts its use: %s", wanted.model, wanted.profile.restriction)
        if wanted.trust_remote_code:
            log.warning("Python code that comes with %s is run (trust_remote_code)", wanted.model)
        await model_fetch.fetch(wanted.model, wanted.revision, self._note_fetching)
        await self.supervisor.start()
        version = f"transformers {versions['transformers']}, torch {versions['torch']}"
        self._info = EngineInfo("transformers", model, version, self._fingerprint(model, version))

    def _note_fetching(self, text: str) -> None:
        self._fetching = text

    def _fingerprint(self, model: str, version: str) -> str:
        """Return a digest of all that could change the text of a page: model, prompt, sampling, versions."""
        profile = self._orders.profile.model_dump(mode="json", exclude=NO_TEXT)
        parts = {"model": model, "version": version, "profile": profile, "dtype": self._orders.dtype}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    async def _build(self) -> TransformersCore:
        """Start a process, for batches no larger than the last one had memory for. Raises ConfigError, EngineError."""
        if self._core:
            self._generated += self._core.generated
            self._orders = replace(self._orders, batch=self._core.batch)
            self._core = None
        self._core = await TransformersCore.start(self._orders, self.page_size)
        return self._core

    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:
        """Read one page; see `Engine.read`."""
        return await self.supervisor.read(page, priority, approach)

    async def close(self) -> None:
        """End the process and give up its pages."""
        await self.supervisor.close()
