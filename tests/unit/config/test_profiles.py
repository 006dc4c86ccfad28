"""Profiles: the ones that ocrd brings, an owner's own, and what they and engine.vllm make of each other."""

import json
from pathlib import Path

import pytest
import yaml

from ocrd.config import example, loader, profile, resolving
from ocrd.config.resolving import find, resolve, shipped
from ocrd.config.vllm import VllmSettings
from ocrd.errors import ConfigError

OWN = """\
source: its maker's page
model: somebody/Model
licence: MIT
prompt: <image>Read it.
chat: true
dialect: markdown
max_tokens: 100
max_model_len: 2048
image: {scheme: patches, factor: 28}
"""

CONFIG = """\
engine:
  profile: PROFILE
  vllm: {}
watches:
  - {name: a, inbox: /x/i, outbox: /x/o, archive: /x/a, error: /x/e}
"""


def test_the_default_is_what_it_was_before_there_were_profiles() -> None:
    wanted = {
        "model": "deepseek-ai/DeepSeek-OCR",
        "revision": None,
        "prompt": "<image>\n<|grounding|>Convert the document to markdown.",
        "other_prompt": "<image>\nFree OCR.",
        "max_tokens": 8192,
        "ngram_size": 30,
        "window_size": 90,
        "whitelist_token_ids": (128821, 128822),
        "temperature": 0.0,
        "max_model_len": 8192,
        "runner": "auto",
        "tile": 640,
    }
    resolved = resolve(VllmSettings())
    assert {name: getattr(resolved, name) for name in profile.SHARED} == wanted
    assert (resolved.profile.top_p, resolved.profile.stop, resolved.profile.chat) == (1.0, (), False)
    assert (resolved.profile.arguments, resolved.profile.environment) == ({}, {})


@pytest.mark.parametrize("name", profile.names())
def test_each_profile_says_where_its_facts_come_from_and_what_it_asks(name: str) -> None:
    known = shipped(name)
    assert known.name == name
    assert "https://" in known.source or "ocrd's own" in known.source
    assert known.licence
    for prompt in (known.prompt, known.other_prompt):
        assert prompt.count("<image>") == bool(prompt)
    assert known.chat or known.image_token, "without a template something must stand for the image"
    assert bool(known.model) == bool(known.architectures)


def test_a_restricted_licence_is_never_the_defaults() -> None:
    assert not shipped().restriction
    assert all(shipped(name).restriction for name in ("chandra-2", "surya-2"))


def test_settings_of_engine_vllm_win_over_the_profile() -> None:
    resolved = resolve(VllmSettings(max_tokens=7, whitelist_token_ids=()), shipped())
    assert (resolved.max_tokens, resolved.whitelist_token_ids, resolved.ngram_size) == (7, (), 30)
    assert resolve(VllmSettings(tile=768)).profile.image.tile == 768
    assert resolve(VllmSettings(), shipped("unlimited-ocr")).runner == "v1"
    assert resolve(VllmSettings(runner="v2"), shipped("unlimited-ocr")).runner == "v2"


def test_a_setting_that_the_profile_has_no_use_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="tile is 640, but the profile lighton-ocr-2"):
        resolve(VllmSettings(tile=640), shipped("lighton-ocr-2"))
    with pytest.raises(ConfigError, match="profile markdown names no model"):
        resolve(VllmSettings(), shipped("markdown"))


def test_a_profile_of_ones_own_is_read_from_its_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)
    config = loader.parse(CONFIG.replace("PROFILE", "mine.yaml"), tmp_path / "ocrd.yaml")
    own = find(config.engine.profile)
    assert (own.name, own.model, own.image.factor) == ("mine", "somebody/Model", 28)


def test_an_unknown_profile_offers_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"line 2: engine\.profile: .*did you mean deepseek-ocr-2\?.*not 'deepseekocr2'"
    ):
        loader.parse(CONFIG.replace("PROFILE", "deepseekocr2"), tmp_path / "ocrd.yaml")
    with pytest.raises(ConfigError, match=r"did you mean ovis-ocr-2\?.*not 'ovisocr'"):
        find("ovisocr")
    with pytest.raises(ConfigError, match=r"deepseek-ocr, chandra-2.*not 'xyz'"):
        find("xyz")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("model:", "modell:"), "line 2: modell: unknown key; did you mean 'model'?"),
        (("factor: 28", "faktor: 28"), "line 9: image.faktor: unknown key; did you mean 'factor'?"),
        (("<image>Read", "Read"), "line 4: prompt: "),
        (("chat: true", "chat: maybe"), "line 5: chat: "),
        (("patches", "squares"), "line 9: image.scheme: "),
        (("licence: MIT\n", ""), "licence: this key must be given"),
    ],
)
def test_a_mistake_in_a_profile_is_named_with_its_line(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OWN.replace(*change))
    with pytest.raises(ConfigError) as refused:
        find(str(file))
    assert told in refused.value.what
    assert str(file) in refused.value.what
    assert "ocrd help profiles" in refused.value.remedy


def test_a_profile_that_is_not_there_or_would_switch_a_cache_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"profile /nowhere/mine\.yaml can't be read: No such file"):
        find("/nowhere/mine.yaml")
    file = tmp_path / "mine.yaml"
    file.write_text(OWN + "arguments: {enable_prefix_caching: true}\n")
    with pytest.raises(ConfigError, match="must not set enable_prefix_caching"):
        find(str(file))


def test_what_is_shown_names_each_setting_that_the_profile_set_and_reads_back_the_same(tmp_path: Path) -> None:
    text = CONFIG.replace("PROFILE", "ovis-ocr-2").replace("{}", "{max_tokens: 5000}")
    config = loader.parse(text, tmp_path / "ocrd.yaml")
    shown = example.shown(config)
    marked = {
        line.split(":")[0].strip() for line in shown.splitlines() if line.endswith("  # of the profile ovis-ocr-2")
    }
    assert marked == {"model", "prompt", "temperature", "max_model_len"}
    again = loader.parse(shown, tmp_path / "ocrd.yaml")
    assert resolve(again.engine.vllm, find("ovis-ocr-2")) == resolve(config.engine.vllm, find("ovis-ocr-2"))
    assert yaml.safe_load(shown)["engine"]["vllm"]["prompt"] == shipped("ovis-ocr-2").prompt


def test_what_is_shown_for_an_engine_without_a_profile_has_none(tmp_path: Path) -> None:
    text = CONFIG.replace("engine:\n", "engine:\n  kind: cpu\n").replace("PROFILE", "deepseek-ocr")
    assert "of the profile" not in example.shown(loader.parse(text, tmp_path / "ocrd.yaml"))


def test_profiles_can_be_written_as_json_for_the_fingerprint() -> None:
    assert all(json.dumps(resolving.shipped(name).model_dump(mode="json")) for name in profile.names())
