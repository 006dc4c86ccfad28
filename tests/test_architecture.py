"""The plan of the house, kept by test: imports go down only, and each library has one door."""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ocrd

HOUSE = Path(ocrd.__file__).parent

FLOORS = [
    {"__main__"},
    {"cli"},
    {"bars", "check", "convert", "installer", "panel", "reference", "rerun", "retry", "review"},
    {"daemon"},
    {"pulse"},
    {"flow", "reread"},
    {"metrics"},
    {"chronicle", "hooks", "reload", "status", "pipeline"},
    {"delivered", "exchange", "reviewpage"},
    {"outputs", "ledger", "reading"},
    {
        "window",
        "twins",
        "inbox",
        "batch",
        "pause",
        "spool",
        "render",
        "ladder",
        "verdict",
        "markdown",
        "publish",
        "engines",
    },
    {"drawing"},
    {"searchable"},
    {"overlay", "sources"},
    {"job"},
    {"nonsense", "plain", "repetition", "split", "members", "talk", "companions"},
    {
        "grouping",
        "grounding",
        "markup",
        "tables",
        "joining",
        "result",
        "scan",
        "settle",
        "watching",
        "whole",
        "writers",
    },
    {"barcodes", "pagefacts", "textlayer", "workers", "slots", "fsio", "service", "logs", "config", "events", "mounts"},
    {"vllm_settings", "paths", "wording", "stains"},
    {"quantities"},
    {"model", "errors"},
]
"""From the top down: a module may import what lies on a floor below its own."""

ALLOWED_SIDEWAYS = {("window", "batch"), ("render", "window")}
"""The window asks `batch` whose page is next; the render workers have a window of their own."""

OWNERS = {
    "watchdog": {"watching"},
    "zxingcpp": {"barcodes"},
    "pymupdf": {"barcodes", "sources", "drawing", "searchable", "engines.cpu"},
    "pymupdf4llm": {"sources", "engines.cpu"},
    "numpy": {"barcodes", "drawing", "pagefacts", "stains", "engines"},
    "cv2": {"pagefacts"},
    "onnxruntime": {"pagefacts", "engines.cpu"},
    "vllm": {"engines.vllm", "engines.ngram"},
    "nh3": {"markup"},
    "markdown_it": {"plain", "reviewpage"},
    "pebble": {"workers"},
    "pillow_heif": {"sources"},
    "PIL": {"barcodes", "sources", "drawing", "searchable", "engines"},
    "yaml": {"config", "markdown", "review"},
    "pydantic": {"config", "quantities", "vllm_settings"},
    "pydantic_core": {"config", "vllm_settings"},
    "typer": {"cli"},
    "rich": {"bars", "check", "panel"},
    "systemd": {"logs"},
    "prometheus_client": {"metrics"},
    "structlog": {
        "logs",
        "ledger",
        "daemon",
        "pulse",
        "flow",
        "inbox",
        "pipeline",
        "reread",
        "spool",
        "convert",
        "engines",
        "chronicle",
        "hooks",
        "cli",
    },
}
"""The only rooms that may import a library; `engines` stands for all of its modules."""

INSIDE_VLLM = "engines.vllm_inside"
"""Imported by vLLM alone, in vLLM's own processes."""

HEAVY = {
    "pymupdf",
    "pymupdf4llm",
    "pydantic",
    "watchdog",
    "PIL",
    "numpy",
    "vllm",
    "torch",
    "yaml",
    "pebble",
    "cv2",
    "onnxruntime",
}

FILES = {".".join(path.relative_to(HOUSE).with_suffix("").parts): path for path in sorted(HOUSE.rglob("*.py"))}


def imports(path: Path) -> Iterator[str]:
    """List what a module imports, anywhere in it; `from ocrd import fsio` counts as `ocrd.fsio`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name.removeprefix("ocrd.") in FILES else node.module or "" for name in inner)


def room(module: str) -> str:
    return module.removeprefix("ocrd").removeprefix(".").partition(".")[0].removesuffix("__init__")


ROOMS = {room(name) for name in FILES} - {""}


def test_every_room_has_its_floor() -> None:
    assert not ROOMS - set.union(*FLOORS), "a new module needs a place in FLOORS and in the design"


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down_only(name: str) -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for target in (target for target in imports(FILES[name]) if target.partition(".")[0] == "ocrd"):
        mine, other = room(name), room(target)
        if not other or mine == other == "engines" or (mine, other) in ALLOWED_SIDEWAYS:
            continue  # not other: the package's version
        assert floor[mine] < floor[other], f"{name} imports {target}, which does not lie below it"


def test_the_engines_do_not_import_each_other() -> None:
    engines = {name: set(imports(path)) for name, path in FILES.items() if room(name) == "engines"}
    common = {"ocrd.engines.base", "ocrd.engines.testpage"}
    ours = {target for target in engines["engines.cpu"] if room(target) == "engines"}
    assert ours <= common
    assert not [name for name, targets in engines.items() if "ocrd.engines.cpu" in targets and "__init__" not in name]
    assert not [name for name, targets in engines.items() if "ocrd.config" in targets and "__init__" not in name]


@pytest.mark.parametrize("name", FILES)
def test_each_library_has_its_own_door(name: str) -> None:
    for target in imports(FILES[name]):
        library = target.partition(".")[0]
        if library == "ocrd" or library in sys.stdlib_module_names:
            continue
        if name.startswith("engines.") and library not in OWNERS:
            continue  # an engine is the door of its own libraries
        doors = OWNERS.get(library, set())
        assert any(name == door or name.startswith((f"{door}.", f"{door}_")) for door in doors), (
            f"{name} imports {target}; its doors are {sorted(doors)}"
        )


def test_no_room_is_a_lumber_room() -> None:
    assert not {"utils", "util", "helpers", "helper", "common", "misc"} & {name.rpartition(".")[2] for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_only_the_command_ends_the_process(name: str) -> None:
    ends = {"sys.exit", "exit", "quit"}
    nodes = ast.walk(ast.parse(FILES[name].read_text()))
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert name == "cli" or not called & ends


def test_help_is_there_without_the_heavy_libraries(run_python: Callable[..., Any]) -> None:
    command = "import sys; sys.argv = ['ocrd', '--help']; from ocrd.cli import main; main()"
    told = run_python("-X", "importtime", "-c", command)
    assert told.returncode == 0, told.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & HEAVY


def test_the_package_can_be_run_as_a_module(run_python: Callable[..., Any]) -> None:
    told = run_python("-m", "ocrd", "--version")
    assert (told.returncode, told.stdout) == (0, f"ocrd {ocrd.__version__}\n"), told.stderr


@pytest.mark.parametrize("name", sorted(set(FILES) - {INSIDE_VLLM}))
def test_what_renders_or_reads_is_imported_late(name: str) -> None:
    top = [node for node in ast.parse(FILES[name].read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    named = [node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in top]
    late = {"zxingcpp", "pymupdf", "pymupdf4llm", "PIL", "numpy", "cv2", "onnxruntime", "vllm", "torch"}
    assert not late & {library.partition(".")[0] for library in named}
    assert f"ocrd.{INSIDE_VLLM}" not in named


def test_the_daemon_itself_does_without_the_render_workers_libraries(run_python: Callable[..., Any]) -> None:
    told = run_python("-c", "import sys, ocrd.daemon, ocrd.convert; print(*sys.modules)")
    assert told.returncode == 0, told.stderr
    assert not set(told.stdout.split()) & {"pymupdf", "PIL", "numpy", "cv2", "onnxruntime", "vllm", "torch", "zxingcpp"}
