"""What the transformers engine would load, and what it says where it can't; without the library."""

import importlib.metadata
from pathlib import Path

import pytest

from ocrd.config import example, loader
from ocrd.config.resolving import shipped
from ocrd.config.transformers import TransformersSettings
from ocrd.engines.instrumented import InstrumentedEngine
from ocrd.engines.transformers import setup
from ocrd.engines.transformers.engine import TransformersEngine
from ocrd.errors import ConfigError
from ocrd.model import EngineState, Rung

INSTALLED = {"transformers": "5.19.0", "torch": "2.13.0", "torchvision": "0.28.0"}


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    known = INSTALLED | versions

    def version(name: str) -> str:
        if known[name] is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return str(known[name])

    monkeypatch.setattr(setup.importlib.metadata, "version", version)


def test_the_profile_says_what_is_loaded_unless_the_owner_does() -> None:
    wanted = setup.orders(TransformersSettings(), shipped("deepseek-ocr-2"))
    assert (wanted.model, wanted.profile.max_tokens) == ("deepseek-community/DeepSeek-OCR-2", 8192)
    wanted = setup.orders(TransformersSettings(), shipped("lighton-ocr-2"))
    assert (wanted.model, wanted.batch, wanted.trust_remote_code) == ("lightonai/LightOnOCR-2-1B", None, False)
    own = TransformersSettings(model="/models/own", revision="v2", max_tokens=100, batch_size=2)
    wanted = setup.orders(own, shipped("lighton-ocr-2"))
    assert (wanted.model, wanted.revision, wanted.profile.max_tokens, wanted.batch) == ("/models/own", "v2", 100, 2)
    with pytest.raises(ConfigError, match="The profile markdown names no model"):
        setup.orders(TransformersSettings(), shipped("markdown"))


def test_what_is_not_installed_or_of_another_version_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    assert setup.check_versions() == INSTALLED
    for changed, told in (
        ({"torch": None}, "torch is not installed"),
        ({"transformers": "4.57.1"}, r"transformers 4\.57\.1 is installed, and ocrd works with 5\.19 to 5\.24"),
        ({"transformers": "5.25.0"}, r"transformers 5\.25\.0 is installed"),
        ({"transformers": "main"}, "transformers main is installed"),
    ):
        installed(monkeypatch, **changed)
        with pytest.raises(ConfigError, match=told) as refused:
            setup.check_versions()
        assert "'transformers>=5.19,<5.25' torch torchvision" in refused.value.remedy


def test_what_runs_is_told_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, torch=None)
    settings = TransformersSettings(trust_remote_code=True, revision="0123456789" * 4)
    told = {one.what: str(one.found) for one in TransformersEngine(settings, shipped("chandra-2")).preflight()}
    assert "torch is not installed" in told["packages"]
    assert "RESTRICTED: free for research" in told["licence of datalab-to/chandra-ocr-2"]
    assert "code that comes with the model is run" in told["code of datalab-to/chandra-ocr-2"]


def test_two_batches_are_with_the_engine_and_second_readings_are_those_of_the_profile() -> None:
    engine = TransformersEngine(TransformersSettings(batch_size=3), shipped("deepseek-ocr-2"))
    assert (engine.window, TransformersEngine(TransformersSettings(), shipped("chandra-2")).window) == (6, 16)
    assert engine.rungs[Rung.PROMPT].prompt == shipped("deepseek-ocr-2").other_prompt
    assert engine.state.doing == "loading"


@pytest.mark.parametrize("batch", ["0", "65", "many", "1.5"])
def test_a_batch_is_a_number_of_pages(batch: str) -> None:
    text = f"engine: {{kind: transformers, transformers: {{batch_size: {batch}}}}}\nwatches: []"
    with pytest.raises(ConfigError, match="must be auto, or a whole number from 1 to 64"):
        loader.parse(text, Path("/etc/ocrd.yaml"))


def test_what_is_shown_of_the_configuration_has_what_the_profile_set() -> None:
    text = "engine: {kind: transformers, profile: deepseek-ocr-2, transformers: {max_tokens: 5}}\nwatches:\n"
    text += "  - {name: a, inbox: /x/i, outbox: /x/o, archive: /x/a, error: /x/e}\n"
    shown = example.shown(loader.parse(text, Path("/etc/ocrd.yaml")))
    assert "    model: deepseek-community/DeepSeek-OCR-2  # of the profile deepseek-ocr-2\n" in shown
    assert "    max_tokens: 5\n" in shown


def test_a_long_page_that_gets_on_is_no_hang() -> None:
    class Generating:
        generated = 0

        @property
        def state(self) -> EngineState:
            return EngineState(generated=self.generated)

    now, inner = [0.0], Generating()
    engine = InstrumentedEngine(inner, clock=lambda: now[0])
    engine.inside = 1
    now[0] = 500.0
    assert engine.silence() == 500
    inner.generated = 7
    assert engine.silence() == 0
    now[0] = 800.0
    assert engine.silence() == 300
