"""The commands as a person calls them."""

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from house import MODULES, OCRD
from PIL import Image
from preloaded import Completed, run

from ocrd.display import pip

ROOT = Path(__file__).parents[2]


def ocrd(*arguments: object, cwd: Path | None = None) -> Completed:
    return run([OCRD, *map(str, arguments)], cwd=cwd, env={**os.environ, "PYTHONPATH": MODULES})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folders = {role: role for role in ("inbox", "outbox", "archive", "error")}
    settings = {"engine": {"kind": "simulated:create"}, "watches": [{"name": "scans", **folders}]}
    path = tmp_path / "ocrd.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_convert_writes_beside_the_file_or_into_a_folder_and_overwrites_nothing(
    config: Path, make_pdf: Callable[..., Path]
) -> None:
    scan = make_pdf(config.parent / "scan.pdf", 2)
    first = ocrd("convert", scan, "-c", config)
    assert first.stdout.strip() == str(config.parent / "scan.md")
    again = ocrd("convert", scan, "-c", config)
    assert again.stdout.strip() == str(config.parent / "scan (2).md")
    elsewhere = ocrd("convert", scan, "-c", config, "-o", config.parent / "new")
    assert elsewhere.stdout.strip() == str(config.parent / "new/scan.md")
    assert [first.returncode, again.returncode, elsewhere.returncode] == [0, 0, 0]
    assert (config.parent / "scan.md").read_text().count("<!-- page ") == 2
    assert scan.exists()


def test_convert_writes_what_it_is_asked_for(config: Path, make_pdf: Callable[..., Path]) -> None:
    scan = make_pdf(config.parent / "scan.pdf", 2)
    done = ocrd("convert", scan, "-c", config, "-f", "html", "-f", "pdf", "-o", config.parent / "new")
    assert done.stdout.strip() == str(config.parent / "new/scan.html"), done.stderr
    assert sorted(path.name for path in (config.parent / "new").iterdir()) == ["scan.html", "scan.pdf"]
    assert (config.parent / "new/scan.html").read_text().count("<section ") == 2


def test_convert_reads_each_pdf_of_a_folder_and_its_images_as_one(config: Path, make_pdf: Callable[..., Path]) -> None:
    folder = config.parent / "mail"
    folder.mkdir()
    scans = [make_pdf(folder / f"scan-{number}.pdf") for number in (10, 9)]
    only = ocrd("convert", folder, "-c", config)
    assert only.stdout.split() == [str(folder / f"scan-{number}.md") for number in (9, 10)], only.stderr
    Image.new("L", (200, 300), "white").save(folder / "side1.png")
    both = ocrd("convert", folder, "-c", config, "-o", config.parent / "new")
    assert both.stdout.split() == [str(config.parent / f"new/{name}.md") for name in ("mail", "scan-9", "scan-10")]
    assert all(scan.exists() for scan in scans)


def test_convert_tells_what_can_not_be_read_and_goes_on(config: Path, make_pdf: Callable[..., Path]) -> None:
    (config.parent / "empty.pdf").touch()
    scan = make_pdf(config.parent / "scan.pdf")
    told = ocrd("convert", config.parent / "empty.pdf", scan, "-c", config)
    assert told.returncode == os.EX_DATAERR
    assert "This file is empty (0 bytes)" in told.stderr
    assert told.stdout.strip() == str(config.parent / "scan.md")


def test_convert_goes_on_past_what_is_not_there_or_would_never_end(config: Path, make_pdf: Callable[..., Path]) -> None:
    os.mkfifo(config.parent / "pipe.pdf")
    scan = make_pdf(config.parent / "scan.pdf")
    told = ocrd("convert", config.parent / "none.pdf", config.parent / "pipe.pdf", scan, "-c", config)
    assert told.returncode == os.EX_DATAERR
    assert f"{config.parent}/none.pdf: No such file or directory.\nGive the path" in told.stderr
    assert f"{config.parent}/pipe.pdf: This is neither a file nor a folder.\n" in told.stderr
    assert told.stdout.strip() == str(config.parent / "scan.md")


def test_convert_names_the_sidecar_of_a_folder_for_it_also_where_it_is_called_dot(config: Path) -> None:
    folder = config.parent / "letter.2026.05"
    folder.mkdir()
    for number in (1, 2):
        Image.new("L", (200, 300), "white").save(folder / f"{number}.png")
    told = ocrd("convert", ".", "-c", config, cwd=folder)
    assert told.stdout.strip() == f"{folder}.md", told.stderr
    assert Path(f"{folder}.md").read_text().count("<!-- page ") == 2


def test_convert_takes_the_settings_of_a_watch_and_of_companions(config: Path, make_pdf: Callable[..., Path]) -> None:
    raw = yaml.safe_load(config.read_text())
    raw["watches"][0] |= {"outputs": ["text", "json"], "pages": {"text_layer": "ignore"}}
    config.write_text(yaml.safe_dump(raw))
    for name in ("a", "b", "c"):
        make_pdf(config.parent / f"{name}.pdf")
    (config.parent / "b.pdf.ocrd.yaml").write_text("outputs: [markdown]\n")
    (config.parent / "c.pdf.ocrd.yaml").write_text("outputs: [paper]\n")
    told = ocrd("convert", *(config.parent / f"{name}.pdf" for name in "abc"), "-c", config)
    assert told.returncode == os.EX_DATAERR
    assert "c.pdf.ocrd.yaml is wrong in line 1: outputs.0" in told.stderr
    assert {path.name for path in config.parent.glob("[abc].*")} - {"a.pdf", "b.pdf", "c.pdf"} == {
        "a.txt", "a.json", "b.md", "b.pdf.ocrd.yaml", "c.pdf.ocrd.yaml",
    }  # fmt: skip
    assert "settings:\n  outputs:\n  - markdown" in (config.parent / "b.md").read_text()
    raw["watches"].append(
        {"name": "other"} | {role: f"other/{role}" for role in ("inbox", "outbox", "archive", "error")}
    )
    config.write_text(yaml.safe_dump(raw))
    unclear = ocrd("convert", config.parent / "a.pdf", "-c", config)
    assert (unclear.returncode, "--watch" in unclear.stderr) == (os.EX_CONFIG, True)
    done = ocrd("convert", config.parent / "a.pdf", "-c", config, "--watch", "other", "--outputs", "markdown,html")
    assert done.stdout.strip() == str(config.parent / "a.md"), done.stderr
    assert (config.parent / "a.html").exists()


def test_convert_reads_what_a_glob_matches_each_once(config: Path, make_pdf: Callable[..., Path]) -> None:
    for name in ("x/page-10", "x/page-9", "x/y/deep", "[1]"):
        path = config.parent / f"{name}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        make_pdf(path)
    (config.parent / "x/notes.txt").touch()
    told = ocrd(
        "convert", "x/page*", "x/page-9.pdf", "x/**/d*", "[1].pdf", "none*.pdf", "-c", config, cwd=config.parent
    )
    assert told.stdout.split() == ["x/page-9.md", "x/page-10.md", "x/y/deep.md", "[1].md"]
    assert told.returncode == os.EX_DATAERR
    assert "none*.pdf: No such file" in told.stderr


def test_convert_reads_files_side_by_side_and_names_pages_to_look_at(
    config: Path, make_pdf: Callable[..., Path]
) -> None:
    raw = yaml.safe_load(config.read_text())
    raw["engine"]["options"] = {"together": 3, "window": 8, "fail_page": 1}
    raw["watches"][0]["pages"] = {"text_layer": "ignore", "second_readings": []}
    config.write_text(yaml.safe_dump(raw))
    scans = [make_pdf(config.parent / f"{name}.pdf", pages) for name, pages in (("a", 2), *((c, 1) for c in "bcdefgh"))]
    told = ocrd("convert", *scans, "-c", config)  # it would hang if they were read one after the other
    assert told.stdout.split() == [str(config.parent / f"{name}.md") for name in "abcdefgh"]
    assert "a.pdf: pages to look at: 2\n" in told.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("convert", "ocrd.yaml", "-o", "ocrd.yaml"),
        ("convert", "."),
        ("convert", "ocrd.yaml", "-f", "doc"),
        ("review", "x" * 300),
        ("rerun", "x" * 300, "--pages", "1"),
        ("retry",),
        ("split-sheet", "."),
        ("history", "-c", "."),
        ("help", "me"),
        ("status", "--json", "--watch"),
    ],
)
def test_a_slip_of_the_pen_is_told_in_a_sentence(config: Path, arguments: tuple[str, ...]) -> None:
    told = ocrd(*arguments, cwd=config.parent)
    assert told.returncode > 0
    assert told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["check", "once", "convert scan.pdf"])
def test_a_standard_stream_that_is_closed_is_no_fault(
    config: Path, make_pdf: Callable[..., Path], command: str, closed: str
) -> None:
    make_pdf(config.parent / "scan.pdf")
    told = subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(str(OCRD))} {command} -c ocrd.yaml {closed}"],
        cwd=config.parent,
        env={**os.environ, "PYTHONPATH": MODULES},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "Traceback" not in told.stdout + told.stderr


def test_a_sentence_that_cannot_be_printed_leaves_the_exit_code_as_it_is(config: Path) -> None:
    config.write_text("watches: [")
    told = subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(str(OCRD))} check -c {shlex.quote(str(config))} 2>/dev/full"],
        timeout=120,
        check=False,
    )
    assert told.returncode == os.EX_CONFIG


DEFECT = """
import sys
from ocrd import cli
from ocrd.config import loader
loader.load = lambda path: 1 // 0
sys.argv = ["ocrd", "history"]
cli.main()
"""


def test_a_defect_is_called_one_and_ends_with_its_own_code(run_python: Callable[..., Any]) -> None:
    told = run_python("-c", DEFECT)
    assert told.returncode == os.EX_SOFTWARE
    assert "ZeroDivisionError" in told.stderr
    assert told.stderr.endswith("ocrd: This is a defect of ocrd.\nPlease report it, with the lines above.\n")


def test_check_is_content_with_good_folders_and_leaves_nothing_behind(config: Path) -> None:
    told = ocrd("check", "-c", config)
    assert told.returncode == 0, told.stdout
    before, _, after = (part.strip().splitlines() for part in told.stdout.split("\n\n"))
    lines = before + after
    assert all(line.startswith("OK") for line in lines)
    assert "scans: inbox" in told.stdout
    assert "a claim is one rename" in told.stdout
    assert "engine simulated:create" in lines[-1]
    assert sorted(path.name for path in config.parent.iterdir()) == ["ocrd.yaml"]


LOUD = """
import logging, os
import simulated
from ocrd.engines.base import Finding
from ocrd.errors import ConfigError, EngineError

class Loud(simulated.SimulatedEngine):
    fails = lacks = False
    def preflight(self):
        yield Finding("card", "is there")
        yield Finding("driver", ConfigError("There is no driver.", "Install it.") if self.lacks else "is there, too")
    async def start(self):
        os.system("echo a library talks; echo another talks >&2")
        logging.getLogger("lib").warning("a library warns")
        if self.fails:
            raise EngineError("It did not start.", "See above.")
        if self.lacks:
            os._exit(99)
        await super().start()

def create(options):
    engine = Loud()
    engine.fails, engine.lacks = options["fails"], options["lacks"]
    return engine
"""


@pytest.mark.parametrize(
    ("how", "code", "last"),
    [
        ({"fails": False, "lacks": False}, 0, "OK    engine"),
        ({"fails": True, "lacks": False}, os.EX_TEMPFAIL, "      See above."),
        ({"fails": False, "lacks": True}, os.EX_CONFIG, "      Install it."),
    ],
)
def test_check_looks_before_it_starts_the_engine_and_keeps_libraries_quiet(
    how: dict[str, bool], code: int, last: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.parent / "loud.py").write_text(LOUD)
    monkeypatch.setattr("test_cli.MODULES", f"{MODULES}{os.pathsep}{config.parent}")
    config.write_text(
        yaml.safe_dump(yaml.safe_load(config.read_text()) | {"engine": {"kind": "loud:create", "options": how}})
    )
    told = ocrd("check", "-c", config)
    lines = told.stdout.splitlines()
    assert told.returncode == code, told.stdout + told.stderr
    assert "OK    card: is there" in lines
    assert lines[-1].startswith(last)
    assert "talks" not in told.stdout + told.stderr
    assert ("a library warns" in told.stdout) == how["fails"]


def test_check_says_what_is_wrong_and_what_to_do(config: Path) -> None:
    (config.parent / "outbox").write_text("a file where a folder should be")
    told = ocrd("check", "-c", config)
    assert told.returncode == os.EX_IOERR
    assert "WRONG scans: outbox" in told.stdout
    assert "Not a directory" in told.stdout


def test_check_looks_for_the_programs_of_hooks(config: Path) -> None:
    chosen = yaml.safe_load(config.read_text())
    chosen["watches"][0] |= {"on_delivered": ["true"], "on_refused": ["/nowhere/tell"]}
    config.write_text(yaml.safe_dump(chosen))
    told = ocrd("check", "-c", config)
    assert told.returncode == os.EX_CONFIG
    assert "OK    scans: on_delivered true: can be run" in told.stdout
    assert "WRONG scans: on_refused /nowhere/tell: There is no such program." in told.stdout


def test_check_looks_where_a_url_leads_and_at_its_secret(config: Path) -> None:
    secret = config.parent / "secret"
    secret.write_text("a secret")
    secret.chmod(0o644)
    url = {"url": "http://127.0.0.1:1/hidden", "private_hosts": ["127.0.0.1"]}
    chosen = yaml.safe_load(config.read_text())
    chosen["watches"][0] |= {"on_delivered": url, "on_refused": url | {"secret_file": str(secret)}}
    config.write_text(yaml.safe_dump(chosen))
    told = ocrd("check", "-c", config)
    assert told.returncode == os.EX_CONFIG
    assert "OK    scans: on_delivered 127.0.0.1: will be sent to 127.0.0.1, and not signed" in told.stdout
    assert f"WRONG scans: on_refused 127.0.0.1: secret_file {secret} can't be used" in told.stdout
    assert not any(word in told.stdout for word in ("a secret", "hidden"))
    chosen["watches"][0]["on_refused"] = url | {"secret_file": "credential:hook"}
    config.write_text(yaml.safe_dump(chosen))
    told = ocrd("check", "-c", config)
    assert told.returncode == 0, told.stdout
    assert "OK    scans: on_refused 127.0.0.1: its secret is handed to the service alone" in told.stdout


def test_a_name_that_would_disturb_the_terminal_is_spelled_out(config: Path) -> None:
    name = os.fsdecode(b"\xff\x1b[31m.pdf")
    for role in ("inbox", "error"):
        (config.parent / role).mkdir()
    (config.parent / "error" / name).write_bytes(b"no PDF")
    told = ocrd("retry", f"{name}.error.md", "-c", config)  # a note's name is nearest to hand
    assert told.stdout == f"{config.parent}/inbox/\\xff\\x1b[31m.pdf\n", told.stderr
    assert (config.parent / "inbox" / name).exists()


@pytest.mark.parametrize("kind", ["nowhere:create", "math:sqrt"])
def test_an_engine_that_can_not_be_had_is_one_clear_error(config: Path, kind: str) -> None:
    config.write_text(config.read_text().replace("simulated:create", kind))
    for command in ("run", "once", "check"):
        told = ocrd(command, "-c", config)
        assert told.returncode == os.EX_CONFIG
        assert f"engine.kind is '{kind}', but that can't be loaded" in told.stdout + told.stderr
        assert "Traceback" not in told.stderr


def test_a_wrong_configuration_ends_with_78_and_its_line(config: Path) -> None:
    config.write_text(config.read_text() + "settle: {quit: 3s}\n")
    told = ocrd("run", "-c", config)
    assert told.returncode == os.EX_CONFIG
    assert "settle.quit: unknown key; did you mean 'quiet'?" in told.stderr


def test_a_configuration_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    told = ocrd("run", "-c", tmp_path / "none.yaml")
    assert told.returncode == os.EX_CONFIG
    assert "make one with: ocrd init" in told.stderr


def test_what_init_writes_can_be_shown_and_read(tmp_path: Path) -> None:
    path = tmp_path / "ocrd.yaml"
    path.write_text(ocrd("config", "init").stdout)
    shown = ocrd("config", "show", "-c", path)
    assert shown.returncode == 0
    assert yaml.safe_load(shown.stdout)["settle"]["quiet"] == "3s"
    assert json.loads(ocrd("config", "schema").stdout)["properties"]["watches"]


def test_asking_for_journald_without_its_package_is_one_clear_error(config: Path) -> None:
    config.write_text(config.read_text() + "log: {format: journald}\n")
    (config.parent / "systemd.py").write_text("")  # shadows the package where it is installed
    told = subprocess.run(
        [OCRD, "run", "-c", config],
        env={**os.environ, "PYTHONPATH": f"{config.parent}:{MODULES}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == os.EX_CONFIG
    assert pip("systemd-python") in told.stderr


def test_under_systemd_without_its_package_the_log_is_json(config: Path) -> None:
    told = subprocess.run(
        [OCRD, "once", "-c", config],
        env={**os.environ, "PYTHONPATH": MODULES, "JOURNAL_STREAM": "1:1"},
        cwd=ROOT,  # where a folder named systemd lies
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert all(json.loads(line)["event"] for line in told.stderr.splitlines())


def test_check_tries_where_metrics_are_told_and_leaves_nothing_there(config: Path) -> None:
    raw = yaml.safe_load(config.read_text())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(yaml.safe_dump(raw | {"metrics": {"listen": listen}}))
        told = ocrd("check", "-c", config)
        assert told.returncode == os.EX_CONFIG
        assert f"WRONG metrics.listen {listen}" in told.stdout
    assert f"OK    metrics.listen {listen}: can be listened at" in ocrd("check", "-c", config).stdout
    path = config.parent / "metrics.sock"
    config.write_text(yaml.safe_dump(raw | {"metrics": {"listen": str(path)}}))
    assert ocrd("check", "-c", config).returncode == 0
    assert not path.exists()


def test_check_shows_what_will_be_watched_and_what_is_shared(config: Path) -> None:
    raw = yaml.safe_load(config.read_text())
    [first] = raw["watches"]
    first |= {"include": ["*.pdf"], "split": "barcode", "separators": ["DOC-*"]}
    second = {
        "name": "b",
        "inbox": "b",
        "outbox": "outbox",
        "archive": "b-archive",
        "error": "error",
        "join": "sequence",
    }
    config.write_text(yaml.safe_dump(raw | {"watches": [first, second]}))
    told = ocrd("check", "-c", config)
    assert told.returncode == 0, told.stdout
    assert f"outbox {config.parent}/outbox: shared by scans, b" in told.stdout
    assert "archive" not in [line.split()[1] for line in told.stdout.splitlines() if "shared by" in line]
    assert "scans: separators DOC-*: ocrd split-sheet --text 'DOC-*' FILE makes a sheet to print" in told.stdout
    table = told.stdout[told.stdout.index("watch ") :]
    assert "*.pdf" in table
    assert "markdown" in table
