"""The reference and the example know every setting, and mean the same by it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from ocrd import errors
from ocrd.commands import help_topics
from ocrd.config import example
from ocrd.config.schema import Config
from ocrd.config.units import Section
from ocrd.errors import ConfigError
from ocrd.telemetry import journal


def leaves(section: type[Section], prefix: str = "") -> Iterator[tuple[str, str]]:
    """List every setting of the models themselves, with its description."""
    for name, field in section.model_fields.items():
        inner: Any = next((one for one in (field.annotation, *get_args(field.annotation)) if is_section(one)), None)
        if inner is None:
            yield prefix + name, str(field.description)
        else:
            listed = "" if is_section(field.annotation) else "[]"
            yield from leaves(inner, f"{prefix}{name}{listed}.")


def is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def test_the_models_have_as_many_settings_as_one_would_think() -> None:
    names = [name for name, _ in leaves(Config)]
    assert len(names) > 50
    assert {"settle.quiet", "engine.vllm.idle.after", "watches[].inbox", "watches[].pages.orientation"} <= set(names)


class Written(NamedTuple):
    """All that is written of the settings."""

    settings: dict[str, example.Setting]
    reference: str
    example: str


@pytest.fixture(scope="module")
def written() -> Written:
    settings = {one.name: one for one in example.settings()}
    return Written(settings, "\n" + help_topics.about("configuration"), example.example())


@pytest.mark.parametrize(("name", "description"), list(leaves(Config)))
def test_every_setting_is_in_the_reference_and_in_the_example(name: str, description: str, written: Written) -> None:
    assert written.settings[name].meaning == description
    assert f"\n{name}\n" in written.reference
    key = name.rpartition(".")[2]
    assert re.search(rf"# {re.escape(description)}\n\s*(- )?{key}:", written.example)


def test_defaults_are_written_as_the_file_writes_them() -> None:
    told = {one.name: (one.kind, one.default) for one in example.settings()}
    assert told["settle.quiet"] == ("time, such as 3s or 10min", '"3s"')
    assert told["render.memory"] == ("size, such as 128MiB", '"2GiB"')
    assert told["log.level"] == ("debug | info | warning | error", '"info"')
    assert told["watches[].name"] == ("text", "")
    assert "must be given" in help_topics.about("watches").partition("watches[].inbox")[2]


def test_every_topic_has_a_text_and_every_section_a_topic() -> None:
    for topic in help_topics.topics():
        assert len(help_topics.about(topic)) > 50, topic
        assert f"  {topic}\n" in help_topics.contents()
    assert {"configuration", "exit-codes", "journal", "settle", "engine.vllm", "watches"} <= set(help_topics.topics())


def test_the_topics_know_every_exit_code_field_and_message() -> None:
    codes = {int(code) for code in re.findall(r"^ *(\d+)$", help_topics.about("exit-codes"), re.MULTILINE)}
    assert codes == {
        0,
        2,
        os.EX_UNAVAILABLE,
        *(kind.exit_code for kind in [errors.OcrdError, *errors.OcrdError.__subclasses__()]),
    }
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text(encoding="utf-8")
    assert all(f"| {code} | {meaning} |" in page for code, meaning in help_topics.EXIT_CODES.items())
    text = help_topics.about("journal")
    assert all(message in text for message in journal.MESSAGE_IDS.values())
    assert "OCRD_JOB" in text


def test_a_topic_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="There is no help on 'settel'") as caught:
        help_topics.about("settel")
    assert "settle" in caught.value.remedy
    assert "Did you mean 'settle'" in caught.value.remedy


def test_each_setting_is_explained_by_its_name_alone_or_with_its_sections() -> None:
    for one in example.settings():
        dotted = one.name.replace("[]", "")
        for topic in (one.name, dotted, dotted.rpartition(".")[2]):
            assert one.meaning.split()[0] in help_topics.about(topic), topic
    assert help_topics.about("split") == help_topics.about("watches.split")
    assert help_topics.about("split").startswith("watches[].split\n")
    assert {"settle.quiet", "batch.quiet"} <= set(help_topics.about("quiet").split())
