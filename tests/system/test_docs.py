"""The documentation is true: its commands run, its links lead somewhere, and all that it names is there."""

import ast
import dataclasses
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from house import MODULES, OCRD, House, stop, wait_for
from prometheus_client import generate_latest

from ocrd import errors
from ocrd.cli import app
from ocrd.config import example, loader, resolving
from ocrd.config.profile import Profile
from ocrd.config.watch import Options, Watch
from ocrd.model import Verdict
from ocrd.telemetry.metrics import Metrics
from ocrd.telemetry.status import (
    CardStatus,
    DocumentStatus,
    EngineStatus,
    RecentDocument,
    ServerStatus,
    Status,
    WatchStatus,
)
from ocrd.telemetry.status_board import StatusBoard

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
LINKED = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "bench/HISTORY.md"]
LONGEST = 130
"""Lines of the README."""

_CHANGES = "it changes the machine"
_SYSTEMD = "tests/system/test_systemd.py does it on a real systemd"
_JOURNAL = "needs the journal of a running service; tests/system/test_systemd.py looks at its fields"
_ASKS = "tests/system/test_init.py answers its questions"
_HOURS = "takes minutes to hours, by itself"
_US = "it is what runs this test"
_SERVE = next(
    line
    for line in (ROOT / "docs/scaling.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("vllm serve")
)
NOT_RUN = {
    "sudo apt-get install git make python3-venv": _CHANGES,
    "sudo apt-get install git make python3-venv python3-dev libsystemd-dev gcc pkg-config": _CHANGES,
    "sudo git clone . /opt/ocrd": _CHANGES,
    "sudo make -C /opt/ocrd venv": _CHANGES,
    "sudo /opt/ocrd/.venv/bin/pip install -e '/opt/ocrd[vllm]'": _CHANGES,
    "sudo ocrd init -c /etc/ocrd/ocrd.yaml": _ASKS,
    ".venv/bin/ocrd init": _ASKS,
    "make deb": "it takes minutes, and the packages that debian/control names",
    "make dist": "tests/system/test_installed.py builds what it builds",
    'pipx install "$(echo dist/*.whl)[cpu]"': _CHANGES,
    "ocrd adopt /mnt/scans/.work/hostb -c /etc/ocrd/ocrd.yaml": "tests/system/test_shared_inbox.py runs it",
    "ocrd demo elsewhere": "tests/system/test_samples.py runs it",
    ".venv/bin/ocrd init --gpu": _ASKS,
    "sudo ln -sf /opt/ocrd/.venv/bin/ocrd /usr/local/bin/": _CHANGES,
    "sudo ocrd service install -c /etc/ocrd/ocrd.yaml": _SYSTEMD,
    "sudo usermod -aG ocrd $USER": _CHANGES,
    "sudo ocrd service uninstall": _SYSTEMD,
    "ocrd service install --user -c ocrd.yaml": _SYSTEMD,
    "sudo systemctl reload ocrd": _SYSTEMD,
    "journalctl -u ocrd -f": _JOURNAL,
    "journalctl OCRD_SOURCE=scan.pdf -x": _JOURNAL,
    "journalctl OCRD_VERDICT=repeated": _JOURNAL,
    ".venv/bin/pip install -e '.[vllm]'": "fetches gigabytes, and wants a GPU",
    "hf download deepseek-ai/DeepSeek-OCR": "fetches gigabytes",
    _SERVE: "a server of vLLM's on a GPU; tests/vllm/test_openai.py starts it for the CPU",
    "sudo cp systemd/ocrd-vllm@.service /etc/systemd/system/": _CHANGES,
    "sudo systemctl enable --now ocrd-vllm@0 ocrd-vllm@1": _CHANGES,
    "export HF_HUB_OFFLINE=1": "changes nothing but the shell",
    "git clone . my-ocrd && cd my-ocrd": "this is such a clone",
    "make venv": "it made the environment that this test runs in",
    "make demo": "tests/system/test_samples.py runs what it calls",
    "make quick": _US,
    "make test": _US,
    "make test-all": _US,
    "make bench": _HOURS,
    "make load": _HOURS,
    "make soak": _HOURS,
}
"""Command lines that are not run here, each with the reason."""
ENDLESS = {"ocrd run": "ready", "ocrd status --watch": "watch"}
"""Commands that run until they are interrupted, each with a word that shows that they work."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the blocks of code of a page, each with its language."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """List the command lines of a page, without their comments."""
    lines = [line for language, text in blocks(page) if language == "sh" for line in text.splitlines()]
    return [re.sub(r"\s+# .*", "", line) for line in lines if line.strip()]


def in_code(page: Path) -> list[str]:
    """List what stands between single backticks on a page."""
    return [" ".join(code.split()).replace(r"\|", "|") for code in re.findall(r"`([^`]+)`", without_blocks(page))]


def without_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


# -- commands ---------------------------------------------------------------------------------------------------------


class Desk:
    """A folder in which a reader types the commands of a page, with scans that were read and one that was refused."""

    def __init__(self, root: Path, make_pdf: Callable[..., Path]) -> None:
        self.root = root
        self.house = House(root)
        inbox = root / "scans/inbox"
        (inbox / "letters").mkdir()
        make_pdf(inbox / "letters/scan.pdf", 15)
        (inbox / "scan.pdf").write_bytes(b"no PDF")
        make_pdf(root / "my-scan.pdf")
        (root / ".venv").symlink_to(sys.prefix)
        self._program("sudo", 'exec "$@"')
        assert self.type(".venv/bin/ocrd once -c ocrd.yaml").returncode == 65, "one is to be refused"

    def _program(self, name: str, script: str) -> None:
        (self.root / "bin").mkdir(exist_ok=True)
        (self.root / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.root / "bin" / name).chmod(0o755)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.root}/bin:{OCRD.parent}:/usr/bin:/bin",
            "PYTHONPATH": MODULES,
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
        }

    def type(self, line: str) -> "subprocess.CompletedProcess[str]":
        line = line.replace("/etc/ocrd/ocrd.yaml", "ocrd.yaml")
        told = {"cwd": self.root, "env": self._environment, "text": True, "capture_output": True}
        return subprocess.run(["bash", "-c", line], timeout=120, check=False, **told)  # type: ignore[call-overload, no-any-return]

    def type_and_interrupt(self, line: str, sign: str) -> int:
        """Run what does not end by itself, on a terminal, until it shows the sign; then press Ctrl-C.

        Returns the exit code.
        """
        line = line.replace("/etc/ocrd/ocrd.yaml", "ocrd.yaml")
        terminal, side = os.openpty()
        os.set_blocking(terminal, False)
        program = subprocess.Popen(
            ["env", "--default-signal=INT", "bash", "-c", f"exec {line}"],  # who started the tests may ignore it
            cwd=self.root,
            env=self._environment,
            stdin=side,
            stdout=side,
            stderr=side,
        )
        os.close(side)
        told = b""

        def shows() -> bool:
            nonlocal told
            with suppress(OSError):  # nothing is there yet, or the program has ended
                told += os.read(terminal, 65536)
            return sign.encode() in told

        try:
            wait_for(shows)
            program.send_signal(signal.SIGINT)
            # The terminal is read on: who writes to a full one waits for its reader.
            wait_for(lambda: shows() and program.poll() is not None)
            return program.returncode
        finally:
            program.kill()
            program.wait()
            os.close(terminal)


@pytest.fixture
def desk(tmp_path: Path, make_pdf: Callable[..., Path]) -> Iterator[Desk]:
    desk = Desk(tmp_path, make_pdf)
    yield desk
    desk.house.close()


def endless(line: str) -> str | None:
    """Return what an endless command tells when it works; None for one that ends."""
    called = line.removeprefix(".venv/bin/")
    return next((sign for command, sign in ENDLESS.items() if called.startswith(f"{command} ")), None)


@pytest.mark.parametrize("page", [page for page in PAGES if set(commands(page)) - NOT_RUN.keys()], ids=name_of)
def test_the_commands_of_a_page_do_what_it_says(page: Path, desk: Desk) -> None:
    daemon = desk.house.start() if page.name == "operations.md" else None
    if daemon:
        wait_for(lambda: desk.house.events("ready"))
    for line in commands(page):
        if line in NOT_RUN:
            continue
        if sign := endless(line):
            assert desk.type_and_interrupt(line, sign) == 0, line
        else:
            told = desk.type(line)
            assert told.returncode == 0, f"{line}\n{told.stdout}{told.stderr}"
    if daemon:
        assert stop(daemon) == 0


def test_what_is_not_run_stands_on_a_page() -> None:
    assert NOT_RUN.keys() <= {line for page in PAGES for line in commands(page)}


def test_commands_stand_in_blocks_that_are_run() -> None:
    for page in PAGES:
        for language, text in blocks(page):
            assert language in {"sh", "text", "yaml", "python"}, f"{page}: a block of {language or 'no language'}"
            hidden = re.search(r"^\s*(\$ |sudo |ocrd |make )", text, re.MULTILINE)
            assert language == "sh" or not hidden, f"{page}: {hidden}"
        assert not re.search(r"\n\n {4}\S", without_blocks(page)), f"{page}: a block without a fence"


def test_every_command_and_option_that_is_named_exists() -> None:
    root = typer.main.get_command(app)
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    seen = 0
    for page in PAGES:
        for code in (*in_code(page), *commands(page)):
            words = re.sub(r"^(sudo |\.venv/bin/)+", "", code).split()
            if len(words) > 1 and words[0] == "make":
                assert words[1].startswith("-") or words[1] in known, f"{page}: {code}"
            if len(words) > 1 and words[0] == "ocrd":
                seen += 1
                assert not unknown(root, words[1:]), f"{page}: {code}"
    assert seen > 30


def unknown(command: Any, words: list[str]) -> list[str]:
    """List the words of a command line that its command does not know."""
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return words[:1]
        command, words = command.commands[words[0]], words[1:]
    options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    return [word for word in words if re.match(r"--?[a-z]", word) and word not in options]


# -- examples ---------------------------------------------------------------------------------------------------------


def block(page: str, language: str, holding: str = "") -> str:
    """Take the first block of a language from a page that holds a text."""
    return next(text for kind, text in blocks(ROOT / "docs" / page) if kind == language and holding in text)


def test_the_engine_of_ones_own_reads_as_it_stands_on_the_page(tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
    (tmp_path / "my_engine.py").write_text(block("engines.md", "python"))
    (tmp_path / "ocrd.yaml").write_text(
        block("engines.md", "yaml", "my_engine")
        + "watches:\n- {name: scans, inbox: inbox, outbox: outbox, archive: archive, error: error}\n"
    )
    program = tmp_path / "bin/tesseract"
    program.parent.mkdir()
    says = (
        "import sys; from PIL import Image; assert sys.argv[1:] == ['stdin', 'stdout']; "
        "image = Image.open(sys.stdin.buffer); print('A page of', *image.size, image.mode)"
    )
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(says)} "$@"\n')
    program.chmod(0o755)
    scan = make_pdf(tmp_path / "scan.pdf", 2, width=288, height=360)
    environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{MODULES}"}
    for command in (["check"], ["convert", scan]):
        told = subprocess.run(
            [OCRD, *command, "-c", "ocrd.yaml"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert told.returncode == 0, told.stdout + told.stderr
    text = (tmp_path / "scan.md").read_text()
    assert text.count("A page of 1200 1500 RGB") == 2
    assert "engine: my_engine:create" in text


def test_each_piece_of_configuration_is_one_that_ocrd_takes(tmp_path: Path) -> None:
    pieces = [text for page in PAGES for language, text in blocks(page) if language == "yaml"]
    for text in pieces:
        given = yaml.safe_load(text)
        watch: dict[str, Any] = {"name": "scans"} | {role: role for role in ("inbox", "outbox", "archive", "error")}
        if given.keys() <= Options.model_fields.keys():
            loader.parse_options(text, Path("letter.pdf.ocrd.yaml"))
        elif given.keys() <= Profile.model_fields.keys():
            (tmp_path / "profile.yaml").write_text(text)
            assert resolving.find(str(tmp_path / "profile.yaml")).model
        elif given.keys() <= Watch.model_fields.keys():
            loader.parse(yaml.safe_dump({"watches": [watch | given]}), Path("/ocrd.yaml"))
        else:
            loader.parse(yaml.safe_dump({"watches": [watch]} | given), Path("/ocrd.yaml"))
    assert len(pieces) >= 4


# -- what is named ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(other), f"{page}: {target}"


def anchors(page: Path) -> set[str]:
    """List the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all(f"]({name_of(page)}" in readme for page in (*DOCS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"))
    assert len(readme.splitlines()) <= LONGEST


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_file_function_and_test_that_is_named_is_there(page: Path) -> None:
    for code in in_code(page):
        named = re.fullmatch(r"((?:ocrd|tests|bench|docs|systemd|monitoring|samples)/[\w./@-]*)(?:::(\w+))?", code)
        if not named or "PACKAGE" in code:
            continue
        path, name = ROOT / named[1], named[2]
        assert path.exists(), f"{page}: {code}"
        assert not name or name in defined(path), f"{page}: {code}"


def defined(path: Path) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


def test_every_setting_that_is_named_exists() -> None:
    known = {one.name.replace("[]", "") for one in example.settings()}
    tops = "|".join({name.partition(".")[0] for name in known})
    for page in PAGES:
        for code in in_code(page):
            if re.fullmatch(rf"(?:{tops})(?:\.[a-z_]+)+", code):
                assert code in known, f"{page}: {code}"


def test_each_promise_names_its_tests_and_stands_in_the_readme() -> None:
    table = (ROOT / "docs/promises.md").read_text()
    promises = re.findall(r"^\| \*\*(.+?)\.?\*\*.* \| (.+) \|$", table, re.MULTILINE)
    assert all(re.search(r"`tests/[\w/]+\.py", held_by) for _, held_by in promises)
    readme = re.findall(r"^(\d+\. )\*\*(.+?)\.?\*\*", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [number + promise for number, promise in readme] == [one for one, _ in promises if one[0].isdigit()]
    assert len(readme) == 10


# -- the plan of the house --------------------------------------------------------------------------------------------

ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def test_the_drawing_of_the_packages_is_the_one_that_imports_are_held_to() -> None:
    source = (ROOT / "tests/unit/test_architecture.py").read_text()
    rooms = re.search(r"^ROOMS = (\(.*?^\))", source, re.MULTILINE | re.DOTALL)
    assert rooms
    lines = [line.split() for line in ast.literal_eval(rooms[1])]
    drawing = ARCHITECTURE.partition("## The packages")[2].partition("```text\n")[2].partition("```")[0]
    assert [drawn.split()[: len(line)] for drawn, line in zip(drawing.splitlines(), lines, strict=True)] == lines


def test_the_modules_that_are_listed_are_there() -> None:
    table = ARCHITECTURE.partition("| package | its modules |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`([\w/]+)`", row) for row in table.splitlines()[2:]]
    assert len(rows) >= 6
    for package, *modules in rows:
        for module in modules:
            place = ROOT / "ocrd" / package / module
            assert place.is_dir() or place.with_suffix(".py").exists(), f"{package}: {module}"


def test_the_table_of_crash_points_is_that_of_the_spool() -> None:
    told = ast.get_docstring(ast.parse((ROOT / "ocrd/storage/spool.py").read_text())) or ""
    lines = told.partition("crash after")[2].splitlines()
    width = len("    crash after") + lines[0].index("found")
    points = [line[:width].strip() for line in lines[1 : lines.index("", 1)]]
    table = ARCHITECTURE.partition("| crash after |")[2].partition("\n\n")[0]
    assert [row.split(" | ")[0].strip("| ") for row in table.splitlines()[2:]] == [point for point in points if point]


# -- what there is, and is to be told ---------------------------------------------------------------------------------


def is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, errors.OcrdError)


def first_cells(page: str, heading: str) -> list[set[str]]:
    """List what stands in code in the first cell of each row below a heading's first line of a table."""
    rows = (ROOT / "docs" / page).read_text().partition(heading)[2].partition("\n\n")[0].splitlines()
    return [set(re.findall(r"`([^`]+)`", row.split("|")[1])) or {row.split("|")[1].strip()} for row in rows[2:]]


def choices(setting: str) -> set[str]:
    """List what a setting may be."""
    kind = next(one.kind for one in example.settings() if one.name == setting)
    return set(kind.removeprefix("list of ").split(" | "))


@pytest.mark.parametrize(
    ("page", "heading", "known"),
    [
        ("outputs.md", "| `outputs` |", choices("watches[].outputs")),
        ("outputs.md", "| `split` |", choices("watches[].split")),
        ("arrival.md", "| `join` |", choices("watches[].join")),
        ("arrival.md", "| `duplicates` |", choices("watches[].duplicates")),
        ("engines.md", "| `idle.do` |", choices("engine.vllm.idle.do")),
        ("quality.md", "| verdict |", set(Verdict)),
        ("quality.md", "| way |", choices("watches[].pages.second_readings")),
        (
            "operations.md",
            "| code |",
            {
                "0",
                "2",
                str(os.EX_UNAVAILABLE),
                *(str(kind.exit_code) for kind in vars(errors).values() if is_error(kind)),
            },
        ),
    ],
)
def test_the_tables_have_a_row_for_each_that_there_is(page: str, heading: str, known: set[str]) -> None:
    told = set().union(*first_cells(page, heading))
    assert {one for one in told if not one.startswith("(")} == known


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("| field |", Status),
        ("| field of `engine` |", EngineStatus),
        ("| field of one of `watches` |", WatchStatus),
        ("| field of one of `documents` |", DocumentStatus),
        ("| field of one of `recent` |", RecentDocument),
    ],
)
def test_every_field_of_the_status_is_explained(heading: str, kind: type) -> None:
    told = set().union(*first_cells("operations.md", heading))
    assert told - {"exit_code"} == {field.name for field in dataclasses.fields(kind)}


def test_every_number_for_prometheus_is_explained() -> None:
    board = StatusBoard(loader.parse(block("configuration.md", "yaml"), Path("/ocrd.yaml")))
    board._engine.memory = board._engine.memory_used = board._engine.memory_total = 1
    board._engine.servers = [ServerStatus("http://gpu1:8000/v1", up=True)]
    board._engine.cards = [CardStatus("0", "ready", 1, 1, 1, 1)]
    there = generate_latest(Metrics(board.snapshot).registry).decode()
    names = {name for name in re.findall(r"^# TYPE (ocrd_\w+)", there, re.MULTILINE) if not name.endswith("_created")}
    told = set().union(*first_cells("operations.md", "| number |"))
    assert told == names
