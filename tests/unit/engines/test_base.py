"""What an engine of one's own gets from the base class, and that one without it still serves."""

import asyncio
import sys
from types import ModuleType
from typing import Any

import pytest
from simulated import small_page

from ocrd import engines
from ocrd.config.schema import Engine as Settings
from ocrd.engines.base import Engine, EngineInfo, EngineState
from ocrd.engines.instrumented import InstrumentedEngine
from ocrd.errors import DocumentError
from ocrd.model import Approach, PageImage, PageSizer, PixelSize, Reading

PAGE = PageImage(0, PixelSize(1, 1), b"\xff\xff\xff", 72.0)


class Least(Engine):
    """Says no more than it must."""

    info = EngineInfo("mine", "a model", "1", "mine-1")
    window = 3

    @property
    def page_size(self) -> PageSizer:
        return small_page

    async def start(self) -> None: ...

    async def read(self, page: PageImage, **_: Any) -> Reading:
        return Reading(page.index, "words", "stop", 1, 0.0)

    async def close(self) -> None: ...


OF_BEFORE = type("OfBefore", (), {name: vars(Least)[name] for name in vars(Least) if not name.startswith("__")})
"""An engine that has the methods, but no base class and neither `prepare` nor `rungs`."""


def load(monkeypatch: pytest.MonkeyPatch, made: object) -> Engine:
    """Load an engine as the configuration names it."""
    module = ModuleType("of_ones_own")
    module.create = lambda _options: made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "of_ones_own", module)
    return engines.load(Settings(kind="of_ones_own:create"))


@pytest.mark.parametrize("kind", [Least, OF_BEFORE])
def test_what_an_engine_leaves_out_has_a_default(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    engine = InstrumentedEngine(load(monkeypatch, kind()))
    assert (engine.prepare, engine.rungs, engine.state) == (None, {}, EngineState())
    assert engine.page_size(1, 1) == small_page(1, 1)
    assert (engine.info.kind, engine.window) == ("mine", 3)
    with pytest.raises(DocumentError, match="the engine mine takes neither prompt nor languages"):
        engine.accept(Approach(prompt="another"))
    assert asyncio.run(engine.read(PAGE)).text == "words"
    assert engine.tokens == 1


def test_what_an_engine_has_is_asked_also_without_the_base_class(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted: list[Approach] = []
    more = {"state": EngineState("loading", restarts=2), "rungs": {"warm": Approach()}, "accept": accepted.append}
    made = OF_BEFORE()
    for name, value in more.items():
        setattr(made, name, value)
    engine = load(monkeypatch, made)
    engine.accept(Approach(prompt="another"))
    assert accepted == [Approach(prompt="another")]
    assert (engine.state, engine.rungs) == (more["state"], more["rungs"])


def test_an_engine_that_lacks_what_every_engine_needs_is_refused() -> None:
    class Deaf(Least):
        read = Engine.read  # type: ignore[assignment]

    with pytest.raises(TypeError, match="read"):
        Deaf()
