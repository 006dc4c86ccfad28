"""The configuration is read strictly, and every error says where, what, and what would be right."""

import json
import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ocrd.config import example, loader
from ocrd.config import schema as config
from ocrd.config.watch import Watch
from ocrd.errors import ConfigError

FILE = Path("/etc/ocrd/ocrd.yaml")
WATCH = "{name: scans, inbox: /o/inbox, outbox: /o/outbox, archive: /o/archive, error: /o/error}"
GOOD = f"watches:\n  - {WATCH}\n"


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loader.parse(dedent(text), FILE)
    assert caught.value.exit_code == 78
    assert str(FILE) in caught.value.what
    assert caught.value.remedy
    return caught.value.what


def test_the_smallest_configuration_is_its_watches() -> None:
    read = loader.parse(GOOD, FILE)
    assert read.settle.quiet == 3.0
    assert read.batch == config.Batch(quiet="2s", max_wait="10s", max_pages=512)
    assert read.watches[0].inbox == Path("/o/inbox")
    assert read.watches[0].work_folder == Path("/o/.inbox.ocrd-work")


def test_hosts_with_one_configuration_have_work_folders_of_their_own() -> None:
    text = GOOD.replace("error}", 'error, work: ".work/{host}-a"}')
    watch = loader.parse(text, FILE).watches[0]
    assert watch.work_folder == FILE.parent / ".work" / f"{socket.gethostname()}-a"
    assert watch.is_among_others


@pytest.mark.parametrize(
    ("work", "told"),
    [("{host}/work", "{host} in its last part only"), ("/o/{host}", "/o/inbox lies in the same folder")],
)
def test_the_work_folders_of_hosts_lie_side_by_side_and_nothing_else_beside_them(work: str, told: str) -> None:
    what = problems(GOOD.replace("error}", f'error, work: "{work}"}}'))
    assert "watches.0.work: " in what
    assert told in what


@pytest.mark.parametrize(
    ("text", "line", "key", "told"),
    [
        ("settle: {quite: 3s}", 1, "settle.quite", ["unknown key", "did you mean 'quiet'?"]),
        ("log:\n  zebra: 1", 2, "log.zebra", ["unknown key", "known here: level, format"]),
        ("wotches: []", 1, "wotches", ["did you mean 'watches'?"]),
        ("settle:\n  quiet: 3", 2, "settle.quiet", ["not 3", "a number with a unit", "(ms, s, min", "3s or 10min"]),
        ("settle:\n  quiet: 3 parsecs", 2, "settle.quiet", ["'3 parsecs'", "ms, s, min, h, d"]),
        ("settle:\n  quiet: -3s", 2, "settle.quiet", ["'-3s'", "a number with a unit"]),
        ("settle:\n  rescan: 0s", 2, "settle.rescan", ["not '0s'", "at least"]),
        ("render:\n  memory: 2GB", 2, "render.memory", ["'2GB'", "KiB, MiB, GiB", "128MiB"]),
        ("render:\n  memory: 1MiB", 2, "render.memory", ["1MiB", "1GiB"]),
        ("render:\n  workers: -1", 2, "render.workers", ["not -1", "greater than or equal to 0"]),
        ("batch:\n  max_pages: 1.5", 2, "batch.max_pages", ["not 1.5", "integer"]),
        ("batch:\n  max_pages: '7'", 2, "batch.max_pages", ["not '7'", "integer"]),
        ("max_attempts: yes", 1, "max_attempts", ["not True", "integer"]),
        ("log:\n  level: loud", 2, "log.level", ["not 'loud'", "'debug', 'info', 'warning' or 'error'"]),
        ("engine:\n  kind: gpu", 2, "engine.kind", ["not 'gpu'", "vllm|openai|transformers|cpu"]),
        ("engine:\n  openai:\n    endpoints: [gpu1]", 3, "engine.openai.endpoints.0", ["not 'gpu1'", "http://gpu1"]),
        ("engine:\n  openai:\n    concurrency: 0", 3, "engine.openai.concurrency", ["not 0", "auto, or a"]),
        ("engine:\n  kind: [cpu]", 2, "engine.kind", ["not ['cpu']", "string"]),
        ("engine:\n  cpu:\n    languages: [eng, 5]", 3, "engine.cpu.languages.1", ["not 5", "string"]),
        ("engine:\n  cpu:\n    languages: eng", 3, "engine.cpu.languages", ["not 'eng'"]),
        ("engine: cpu", 1, "engine", ["not 'cpu'"]),
        ("settle: {quiet: 3s}\nsettle: {quiet: 4s}", 2, "settle", ["stands twice"]),
        ("settle:\n  quiet: 3s\n  quiet: 4s", 3, "settle.quiet", ["stands twice"]),
    ],
)
def test_a_wrong_setting_is_told_with_line_key_value_and_what_is_allowed(
    text: str, line: int, key: str, told: list[str]
) -> None:
    what = problems(f"{text}\n{GOOD}")
    assert f"line {line}: {key}: " in what
    assert all(word in what for word in told), what


@pytest.mark.parametrize(
    ("watch", "key", "told"),
    [
        ("inbox: /o/in, outbox: /o/out, archive: /o/a, error: /o/e", "watches.0.name", ["must be given"]),
        ("name: 'a b', inbox: /i, outbox: /o, archive: /a, error: /e", "watches.0.name", ["'a b'", "1 to 64 letters"]),
        ("name: a, inbox: 5, outbox: /o, archive: /a, error: /e", "watches.0.inbox", ["not 5", "the path of a folder"]),
        ("name: a, inbox: '', outbox: /o, archive: /a, error: /e", "watches.0.inbox", ["not ''", "path of a folder"]),
        ("name: a, inbox: /, outbox: /o, archive: /a, error: /e", "watches.0.inbox", ["not the root", "not '/'"]),
        ("name: a, inbox: /i, outbox: /o, archive: /a, error: /e, include: x", "watches.0.include", ["must be a list"]),
        ("name: a, inbox: ~nobody-here/i, outbox: /o, archive: /a, error: /e", "watches.0.inbox", ["~nobody-here/i"]),
        (
            "name: a, inbox: /i, outbox: /o, archive: /a, error: /e, priority: 1",
            "watches.0.priority",
            ["'low'", "not 1"],
        ),
        (
            "name: a, inbox: /i, outbox: /o, archive: /a, error: /e, file_name: '{dat} x'",
            "watches.0.file_name",
            ["{dat}", "{stem}, {date}, {watch}, {folder}, {barcode}, {pages}, {sha}", "not '{dat} x'"],
        ),
        (
            "name: a, inbox: /i, outbox: /o, archive: /a, error: /e, file_name: '{date:%x}'",
            "watches.0.file_name",
            ["{date:%x}", "%Y %y %m %d"],
        ),
        ("name: a, inbox: /i, outbox: /o, archive: /a, error: /e, eror: 1", "watches.0.eror", ["mean 'error'"]),
        ("name: a, inbox: /i, outbox: /o, archive: /a, error: /e, front_matter: 1", "watches.0.front_matter", [" 1"]),
    ],
)
def test_a_wrong_watch_is_told_with_line_key_value_and_what_is_allowed(watch: str, key: str, told: list[str]) -> None:
    what = problems(f"watches:\n\n  - {{{watch}}}\n")
    assert "1 mistake:" in what, "that no watch is left is no problem of its own"
    assert f"line 3: {key}: " in what
    assert all(word in what for word in told), what


@pytest.mark.parametrize(
    ("hook", "key", "told"),
    [
        ("{url: ftp://x.test/}", ".url", ["must begin with https://"]),
        ("{url: x.test}", ".url", ["must be a web address such as https://"]),
        ("{url: 'https://x .test/'}", ".url", ["must be a web address"]),
        ("{url: https://ü.test/}", ".url", ["in ASCII"]),
        ("{url: 'https://x.test:99999/'}", ".url", ["0-65535"]),
        ("{url: 'https://[::1'}", ".url", ["Invalid IPv6 URL"]),
        ("{url: https://me:secret@x.test/}", ".url", ["no user and no password"]),
        ("{url: http://x.test/}", ".url", ["must begin with https://; http is for hosts that private_hosts names"]),
        ("{url: https://localhost/}", ".url", ["name its host in private_hosts"]),
        ("{url: 'https://[::ffff:127.0.0.1]/'}", ".url", ["name its host in private_hosts"]),
        ("{url: https://192.168.1.1/, private_hosts: [192.168.1.2]}", ".url", ["name its host in private_hosts"]),
        ("{url: https://x.test/, private_hosts: x.test}", ".private_hosts", ["must be a list", "'x.test'"]),
        ("{url: https://x.test/, secret_file: ''}", ".secret_file", ["must be the path of a file"]),
        ("{url: https://x.test/, sekret_file: a}", ".sekret_file", ["did you mean 'secret_file'?"]),
        ("{program: true}", ".program", ["must be a list", "True"]),
        ("[run, 5]", ".program.1", ["not 5", "string"]),
        ("run", "", ["must be a section", "'run'"]),
    ],
)
def test_a_wrong_hook_is_told_with_line_key_value_and_what_is_allowed(hook: str, key: str, told: list[str]) -> None:
    what = problems(GOOD.replace("}", f",\n     on_delivered: {hook}}}"))
    assert f"line 3: watches.0.on_delivered{key}: " in what
    assert all(word in what for word in told), what


@pytest.mark.parametrize(
    "url",
    [
        "https://me:sesame@x.test/", "http://x.test/sesame", "https://x.test:99999/sesame", "https://[::1/sesame",
        "https://127.0.0.1/sesame", "ftp://x.test/sesame",
    ],
)  # fmt: skip
def test_a_wrong_url_is_not_shown_as_it_can_hold_a_secret(url: str) -> None:
    what = problems(GOOD.replace("}", f",\n     on_delivered: {{url: '{url}'}}}}"))
    assert "line 3: watches.0.on_delivered.url: " in what
    assert "sesame" not in what


@pytest.mark.parametrize("address", ["http://me:ses@me@gpu1/v1", "https://gpu1/v1?key=ses@me", "gpu1?key=ses@me"])
def test_a_wrong_address_of_a_server_is_not_shown_where_it_can_hold_a_secret(address: str) -> None:
    what = problems(f"engine:\n  openai:\n    endpoints: ['{address}']\n{GOOD}")
    assert "line 3: engine.openai.endpoints.0: must be an address such as http://gpu1:8000/v1" in what
    assert "ses@me" not in what


def test_a_hook_is_a_program_or_a_section_with_program_and_url() -> None:
    url = "{program: [run, -q], url: 'http://NAS.test:8/a', private_hosts: [nas.test], secret_file: s}"
    for hook, program in (("[run, -q]", ("run", "-q")), (url, ("run", "-q")), ("[]", ())):
        read = loader.parse(GOOD.replace("}", f", on_delivered: {hook}}}"), FILE)
        assert read.watches[0].on_delivered.program == program
        assert loader.parse(example.dump(read), FILE) == read
        assert not read.watches[0].on_refused
        assert bool(read.watches[0].on_delivered) == bool(program)
    described = example.schema()["$defs"]["Watch"]["properties"]["on_delivered"]
    assert {"type": "array", "items": {"type": "string"}} in described["anyOf"], "an editor takes a list, too"


@pytest.mark.parametrize("word", ["off", "Off", "no", "'off'"])
def test_a_word_that_yaml_reads_as_false_means_off(word: str) -> None:
    read = loader.parse(GOOD.replace("}", f", pages: {{orientation: {word}}}}}"), FILE)
    assert read.watches[0].pages.orientation == "off"
    assert loader.parse(example.dump(read), FILE) == read
    assert "'auto' or 'off', not 'on'" in problems(GOOD.replace("}", ", pages: {orientation: on}}"))


@pytest.mark.parametrize(
    ("second", "refused"),
    [
        ("outbox: /o/outbox, archive: /o/archive", True),
        ("outbox: /o/outbox, archive: /o/archive, duplicates: skip", True),
        ("outbox: /o/outbox, archive: /o/other", False),
        ("outbox: /o/other, archive: /o/archive", False),
    ],
)
def test_watches_of_which_nothing_would_tell_whose_a_file_is_are_refused(second: str, *, refused: bool) -> None:
    first = WATCH.replace("}", ", history: false}")
    text = f"watches:\n  - {first}\n  - {{name: b, inbox: /b/inbox, error: /o/error, history: false, {second}}}\n"
    if refused:
        assert "line 3: watches.1.outbox: watch 'scans' has the same, and the same archive" in problems(text)
    else:
        assert len(loader.parse(text, FILE).watches) == 2
    assert len(loader.parse(text.replace("history: false", "history: true"), FILE).watches) == 2


def test_the_schema_says_what_it_is_and_the_example_names_it() -> None:
    described = example.schema()
    assert described["$schema"].startswith("https://json-schema.org/")
    assert described["$id"]
    mode = described["$defs"]["Watch"]["properties"]["mode"]["anyOf"][0]
    assert mode["type"] == ["string", "integer"], "an editor reads 0664 as a number, as the loader does"
    assert example.example().startswith("# yaml-language-server: $schema=ocrd.schema.json\n")


def test_all_problems_are_told_at_once() -> None:
    what = problems(f"settle: {{quite: 3s}}\nlog: {{level: loud}}\n{GOOD}")
    assert "2 mistakes:" in what
    assert "line 1: settle.quite" in what
    assert "line 2: log.level" in what


@pytest.mark.parametrize("text", ["", "# nothing\n", "watches: []\n", "watches:\n", "settle: {}\n"])
def test_a_configuration_without_watches_is_refused(text: str) -> None:
    assert "watches: " in problems(text)


@pytest.mark.parametrize("text", ["hello", "[1, 2]", "7"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    assert "line 1: (the file): " in problems(text)


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: b: c", "a:\n\t- 1", "a: \0", "? [a]\n: 1", "--- 1\n--- 2", "a: !!python/object:os.system 1", "*a"],
)
def test_what_is_no_yaml_is_refused_with_its_place(text: str) -> None:
    what = problems(text)
    assert "is not valid YAML" in what
    assert re.search(r"line \d|position \d", what)


def test_a_key_that_is_no_text_is_refused() -> None:
    assert "line 1: " in problems(f"7: 8\n{GOOD}")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"# \xe9\n")
    for path in (tmp_path / "none.yaml", tmp_path, latin):
        with pytest.raises(ConfigError, match=f"{re.escape(str(path))} can't be read") as caught:
            loader.load(path)
        assert "ocrd init" in caught.value.remedy


def test_relative_folders_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ocrd.yaml"
    file.write_text("watches: [{name: s, inbox: in, outbox: ./sub/out, archive: /abs, error: ~/err, work: w}]")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.chdir("/")
    watch = loader.load(file).watches[0]
    assert (watch.inbox, watch.outbox, watch.archive, watch.error, watch.work_folder) == (
        tmp_path / "in", tmp_path / "sub/out", Path("/abs"), Path("/home/someone/err"), tmp_path / "w",
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert loader.load(Path("ocrd.yaml")).watches[0].inbox == tmp_path / "in"


def two(**folders: str) -> str:
    first = {role: f"/one/{role}" for role in ("inbox", "outbox", "archive", "error")} | {"name": "one"}
    second = {role: f"/two/{role}" for role in ("inbox", "outbox", "archive", "error")} | {"name": "two"}
    return yaml.safe_dump({"watches": [first | folders, second]}, sort_keys=False)


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        ({"outbox": "/one/inbox"}, "watches.0.outbox: /one/inbox lies in the inbox of watch 'one'"),
        ({"outbox": "/one/inbox/a"}, "watches.0.outbox: /one/inbox/a lies in the inbox of watch 'one' (/one/inbox)"),
        ({"archive": "/two/inbox/a"}, "watches.0.archive: /two/inbox/a lies in the inbox of watch 'two'"),
        ({"error": "/two/.inbox.ocrd-work/e"}, "watches.0.error: /two/.inbox.ocrd-work/e lies in the work of watch"),
        ({"inbox": "/two/inbox/sub"}, "watches.0.inbox: /two/inbox/sub lies in the inbox of watch 'two'"),
        ({"work": "/one/inbox/.w"}, "watches.0.work: /one/inbox/.w lies in the inbox of watch 'one'"),
        ({"work": "/two/.inbox.ocrd-work"}, "lies in the work of watch"),
        ({"work": "/one"}, "lies in the work of watch 'one' (/one)"),
        ({"inbox": "/two/../two/inbox"}, "lies in the inbox of watch"),
        ({"name": "two"}, "watches.1.name: the name 'two' is taken"),
    ],
)
def test_folders_that_would_make_a_loop_are_refused(folders: dict[str, str], told: str) -> None:
    assert told in problems(two(**folders))


def test_a_link_does_not_hide_an_overlap(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "link").symlink_to("inbox")
    what = problems(two(inbox=str(tmp_path / "inbox"), outbox=str(tmp_path / "link/out")))
    assert "watches.0.outbox" in what


def test_a_folder_that_links_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "into").symlink_to("loop/below")
    for link in ("loop", "into"):
        assert "watches.0.outbox" in problems(two(outbox=str(tmp_path / link / "out")))


def test_watches_may_share_outbox_archive_and_error_and_hand_on_to_each_other() -> None:
    loader.parse(two(outbox="/two/outbox", archive="/two/archive", error="/two/error"), FILE)
    loader.parse(two(outbox="/pipe", archive="/pipe", error="/pipe"), FILE)


@given(st.integers(0, 10**7), st.sampled_from(["ms", "s", "min", "h", "d"]))
def test_times_round_trip(number: int, unit: str) -> None:
    read = config.Settle(quiet=f"{number}{unit}")
    assert config.Settle.model_validate(read.model_dump(mode="json")).quiet == pytest.approx(read.quiet, rel=1e-12)


@given(st.integers(2**30, 2**45))
def test_sizes_round_trip(number: int) -> None:
    read = config.Render(memory=f"{number}B")
    assert read.memory == number
    assert config.Render.model_validate(read.model_dump(mode="json")).memory == number


@pytest.mark.parametrize(
    ("written", "seconds"), [("500ms", 0.5), ("3s", 3), (" 1.5 min ", 90), ("1h", 3600), ("2d", 172800), ("0s", 0)]
)
def test_times_are_written_with_a_unit(written: str, seconds: float) -> None:
    assert config.Settle(quiet=written).quiet == seconds


@pytest.mark.parametrize(("written", "bytes_"), [("1024MiB", 2**30), ("1.5GiB", 3 * 2**29), ("1TiB", 2**40)])
def test_sizes_are_written_with_a_unit(written: str, bytes_: int) -> None:
    assert config.Render(memory=written).memory == bytes_


@pytest.mark.parametrize("written", ["0664", "'0664'", "'664'", "0o664", "'0o664'"])
def test_permissions_are_read_as_everybody_writes_them(written: str) -> None:
    read = loader.parse(GOOD.replace("error: /o/error}", f"error: /o/error, mode: {written}}}"), FILE)
    assert read.watches[0].mode == 0o664
    assert loader.parse(example.dump(read), FILE) == read


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("mode: 664", "in octal"),
        ("mode: '0064'", "at least 0600"),
        ("mode: 0777", "nothing but reading and writing"),
        ("mode: true", "in octal"),
        ("group: ''", "at least 1 character"),
    ],
)
def test_access_that_makes_no_sense_is_refused(setting: str, told: str) -> None:
    assert told in problems(GOOD.replace("error: /o/error}", f"error: /o/error, {setting}}}"))


def test_what_is_shown_can_be_read_again() -> None:
    text = two(inbox="/one/ü", work="/w").replace("watches:", "settle: {quiet: 1234567ms}\nwatches:")
    read = loader.parse(text, FILE)
    assert loader.parse(example.dump(read), FILE) == read


def settings(section: type[config.Section], where: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield where + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, config.Section):
            yield from settings(field.annotation, f"{where}{name}.")


def test_the_example_in_the_repository_is_the_one_that_is_written() -> None:
    assert (Path(__file__).parents[3] / "config.example.yaml").read_text(encoding="utf-8") == example.example()


def test_the_page_of_the_documentation_is_the_one_that_is_written() -> None:
    page = (Path(__file__).parents[3] / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == example.reference(), "write it anew with `make docs`"


def test_the_page_explains_every_setting_in_a_row_of_its_own() -> None:
    """Every cell is as the program describes it, once the signs that Markdown needs are taken out."""
    plain = example.reference().replace(r"\<", "<").replace(r"\*", "*")
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in plain.splitlines() if "| `" in line
    ]
    settings = [one for one in (*example.settings(), *example.companion_settings()) if one.kind != "section"]
    told = sorted([cell.replace(r"\|", "|") for cell in row] for row in rows)
    expected = sorted(
        [
            f"`{one.name}`",
            one.kind,
            {"": "must be given", "null": "empty"}.get(one.default, f"`{one.default}`"),
            one.meaning,
        ]
        for one in settings
    )
    assert told == expected
    assert len(told) > 70


def test_the_example_has_every_setting_with_its_default_and_meaning() -> None:
    parsed = loader.parse(example.example(), FILE)
    raw = yaml.safe_load(example.example())
    for dotted in settings(config.Config):
        inner = raw
        for key in dotted.split("."):
            assert key in inner, dotted
            inner = inner[key]
    assert set(raw["watches"][0]) == set(Watch.model_fields)
    assert parsed == config.Config(watches=parsed.watches)
    for section in (config.Config, Watch, config.Render):
        assert all(f"# {field.description}\n" in example.example() for field in section.model_fields.values())


def test_every_setting_is_described() -> None:
    sections = [config.Config, Watch, *config.Section.__subclasses__()]
    assert all(field.description for section in sections for field in section.model_fields.values())


def test_the_schema_is_json_and_knows_every_key(run_python: Callable[..., Any]) -> None:
    told = run_python("-c", "import sys; sys.argv = ['ocrd', 'config', 'schema']; from ocrd.cli import main; main()")
    assert told.returncode == 0, told.stderr
    schema = json.loads(told.stdout)
    assert set(schema["properties"]) == set(config.Config.model_fields)
    assert schema["required"] == ["watches"]
    assert schema["additionalProperties"] is False
    quiet = schema["$defs"]["Settle"]["properties"]["quiet"]
    assert re.search(quiet["pattern"], "10min")
    assert quiet["default"] == "3s"


def test_what_may_be_a_password_in_an_address_is_not_told() -> None:
    what = problems(f"engine:\n  openai:\n    endpoints: ['http://me:sesame@gpu1/v1']\n{GOOD}")
    assert "line 3: engine.openai.endpoints.0: must not hold a name or password" in what
    assert "sesame" not in what


def test_without_a_file_there_is_an_engine_and_no_watch() -> None:
    assert loader.without_watches().watches == ()
    assert loader.without_watches().engine.kind in ("vllm", "cpu")
    assert loader.without_watches().render == config.Render()


@pytest.mark.parametrize("text", ["watches: &loop [*loop]", "watches: " + "[" * 10_000])
def test_a_file_without_an_end_is_refused_like_any_other(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is nested without end|exceeded maximum nesting depth"):
        loader.parse(text, Path("/etc/ocrd/ocrd.yaml"))


def test_each_folder_is_followed_once_however_many_watches_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: Counter[Path] = Counter()
    is_link = Path.is_symlink

    def counted(path: Path) -> bool:
        followed[path] += 1
        return is_link(path)

    monkeypatch.setattr(Path, "is_symlink", counted)
    roles = ("inbox", "outbox", "archive", "error")
    watches = [{"name": f"w{n}"} | {role: f"{n}/{role}" for role in roles} for n in range(40)]
    read = loader.parse(json.dumps({"watches": watches}), tmp_path / "ocrd.yaml")
    assert len(read.watches) == 40
    assert len(followed) >= 5 * 40
    assert max(followed.values()) <= 2


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (8, 8), (12, 8), (16, 8), (32, 16), (128, 32)])
def test_render_workers_are_as_many_as_the_cores_can_carry(
    cores: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert config.Render().count == workers
    assert config.Render(workers=3).count == 3
