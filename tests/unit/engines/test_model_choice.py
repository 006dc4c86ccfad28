"""Which model may run with which profile and version, and what a kept page's fingerprint depends on."""

import json
from pathlib import Path

import pytest

from ocrd.config.resolving import ResolvedSettings, resolve, shipped
from ocrd.config.vllm import VllmSettings
from ocrd.engines import model_fetch
from ocrd.engines.base import Finding
from ocrd.engines.vllm import preflight, setup
from ocrd.errors import ConfigError


def of_class(folder: Path, *architectures: str, profile: str = "deepseek-ocr") -> ResolvedSettings:
    (folder / "config.json").write_text(json.dumps({"architectures": architectures} if architectures else {}))
    return resolve(VllmSettings(model=str(folder)), shipped(profile))


def test_the_profiles_own_class_is_taken_and_without_one_any(tmp_path: Path) -> None:
    setup.identify(of_class(tmp_path, "DeepseekOCRForCausalLM"))
    setup.identify(of_class(tmp_path, "AnyForCausalLM", profile="markdown"))


def test_another_class_is_refused_and_the_profiles_that_fit_are_named(tmp_path: Path) -> None:
    settings = of_class(tmp_path, "DeepseekOCR2ForCausalLM")
    with pytest.raises(
        ConfigError, match="is a DeepseekOCR2ForCausalLM, and the profile deepseek-ocr is for"
    ) as refused:
        setup.identify(settings)
    assert refused.value.remedy == "Set engine.profile to deepseek-ocr-2, or to a file of your own."
    with pytest.raises(ConfigError, match="model without a class") as refused:
        setup.identify(of_class(tmp_path))
    assert refused.value.remedy == "Set engine.profile to a file of your own."


def test_a_config_of_a_model_that_is_damaged_is_refused(tmp_path: Path) -> None:
    settings = of_class(tmp_path, "DeepseekOCRForCausalLM")
    for damaged in ('{"archi', "[]", '{"architectures": 7}'):
        (tmp_path / "config.json").write_text(damaged)
        with pytest.raises(ConfigError, match=r"config\.json is not what it should be"):
            setup.identify(settings)


def test_a_vllm_too_old_for_the_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_installed", lambda: "0.24.0")
    assert setup.check_version(shipped("deepseek-ocr")) == "0.24.0"
    with pytest.raises(
        ConfigError, match=r"vLLM 0\.24\.0 is installed, and the profile unlimited-ocr needs 0\.25 or newer"
    ):
        setup.check_version(shipped("unlimited-ocr"))


def test_the_fingerprint_of_the_default_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.importlib.metadata, "version", lambda _: "5.19.0")
    assert setup.fingerprint(resolve(VllmSettings()), "deepseek-ai/DeepSeek-OCR@abc", "0.33.0") == "af4df3f13b04eaa1"


def test_another_profile_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.importlib.metadata, "version", lambda _: "5.19.0")
    known = {
        setup.fingerprint(resolve(VllmSettings(), chosen), "m", "0.33.0")
        for name in ("deepseek-ocr", "lighton-ocr-2", "ovis-ocr-2")
        for chosen in (shipped(name), shipped(name).model_copy(update={"top_p": 0.5}))
    }
    assert len(known) == 6


def licence(profile: str, **settings: str) -> Finding:
    return model_fetch.licence(resolve(VllmSettings(**settings), shipped(profile)).model, shipped(profile))


def test_it_is_said_where_code_that_comes_with_the_model_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_installed", lambda: None)
    monkeypatch.setattr(setup, "is_cpu_build", lambda: True)
    told = {
        name: any(
            "comes with the model" in str(one.found) for one in preflight.findings(resolve(VllmSettings(), known))
        )
        for name in ("deepseek-ocr", "dots-mocr")
        for known in [shipped(name)]
    }
    assert told == {"deepseek-ocr": False, "dots-mocr": True}


def test_the_licence_of_the_model_is_said_and_a_restricted_one_clearly() -> None:
    assert licence("deepseek-ocr") == Finding("licence of deepseek-ai/DeepSeek-OCR", "MIT")
    assert "RESTRICTED: free for research" in str(licence("chandra-2").found)
    assert "not known to the profile" in str(licence("chandra-2", model="/models/own").found)
