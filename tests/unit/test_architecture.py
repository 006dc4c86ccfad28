"""The plan of the house, kept by test: imports go down only, and each library has one door."""

import ast
import graphlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ocrd

HOUSE = Path(ocrd.__file__).parent

ROOMS = (
    "__main__",
    "cli",
    "commands daemon",
    "pipeline",
    "engines",
    "rendering intake telemetry",
    "storage",
    "config",
    "output",
    "quality concurrency",
    "markup",
    "model errors filetypes display",
)
"""The packages and the modules beside them, from the top down: each may import what stands in a line below its own."""

DOORS = {
    "httpx": {"telemetry.webhook"},
    "ocr_inbox": {"__main__"},
    "watchdog": {"intake.inotify"},
    "zxingcpp": {"rendering.barcodes"},
    "pymupdf": {"rendering", "engines.cpu.layout"},
    "pymupdf4llm": {"rendering.page_layout"},
    "numpy": {"rendering", "engines"},
    "cv2": {"rendering.sight", "rendering.upright", "rendering.damage"},
    "onnxruntime": {"rendering.page_layout"},
    "vllm": {"engines.vllm"},
    "openai": {"engines.openai.client"},
    "httpx2": {"engines.openai.client"},
    "nh3": {"output.sanitize"},
    "markdown_it": {"output.commonmark", "output.plain_text"},
    "pillow_heif": {"rendering.image_source"},
    "pillow_jxl": {"rendering.image_source"},
    "pikepdf": {"rendering.pdf_opening"},
    "tifffile": {"rendering.tiff"},
    "PIL": {"rendering", "engines"},
    "yaml": {"config", "output.front_matter"},
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "typer": {"cli"},
    "rich": {"commands"},
    "systemd": {"telemetry.journal"},
    "prometheus_client": {"telemetry.metrics"},
    "structlog": {"cli", "commands", "daemon", "pipeline", "engines", "intake", "storage", "telemetry"},
}
"""The only modules, or packages with all of their modules, that may import a library."""

INSIDE_VLLM = "engines.vllm.worker_extension"
"""Imported by vLLM alone, in vLLM's own processes."""

PURE = {"engines.vllm.deepseek", "engines.vllm.image_size", "engines.vllm.ngram"}
"""What models see of a page, and what n-gram processors ban: arithmetic, which other engines need, too."""

HEAVY = {
    "openai",
    "httpx2",
    "pymupdf",
    "pymupdf4llm",
    "pydantic",
    "watchdog",
    "PIL",
    "numpy",
    "vllm",
    "torch",
    "yaml",
    "cv2",
    "onnxruntime",
}

FILES = {".".join(path.relative_to(HOUSE).with_suffix("").parts): path for path in sorted(HOUSE.rglob("*.py"))}
LINE = {room: number for number, line in enumerate(ROOMS) for room in line.split()}


def imports(path: Path) -> Iterator[str]:
    """List what a module imports, anywhere in it; `from ocrd.output import tables` counts as `ocrd.output.tables`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            inner = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name.removeprefix("ocrd.") in FILES else node.module or "" for name in inner)


def room(module: str) -> str:
    """Name the package of a module, or the module itself where it stands in none; empty for the whole of ocrd."""
    return module.removeprefix("ocrd").removeprefix(".").partition(".")[0].removesuffix("__init__")


def inner(module: str) -> set[str]:
    """List the modules of ocrd that a module imports, without `ocrd.`."""
    found = (target.removeprefix("ocrd.") for target in imports(FILES[module]) if target.startswith("ocrd."))
    return {target if target in FILES else f"{target}.__init__" for target in found}


def test_every_room_has_its_line_and_says_what_it_is_for() -> None:
    assert {room(name) for name in FILES} - {""} == set(LINE), "a new room needs a line in ROOMS and in the docs"
    for package in (name for name in FILES if name.endswith(".__init__")):
        told = ast.get_docstring(ast.parse(FILES[package].read_text())) or ""
        assert "May import" in " ".join(told.split()) or package.count(".") > 1, package


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down_only(name: str) -> None:
    for target in inner(name):
        mine, other = room(name), room(target)
        if mine not in ("", other) and other:
            assert LINE[mine] < LINE[other], f"{name} imports {target}, which does not lie below it"


def test_no_circle_within_a_room() -> None:
    graph = {name: {target for target in inner(name) if not target.endswith("__init__")} for name in FILES}
    done = graphlib.TopologicalSorter(graph)
    done.prepare()  # raises CycleError, which names the circle


def test_the_engines_do_not_import_each_other() -> None:
    engines = {name: {t for t in inner(name) if room(t) == "engines"} for name in FILES if room(name) == "engines"}
    packages = ("engines.cpu.", "engines.vllm.", "engines.openai.", "engines.transformers.")
    common = {name for name in engines if not name.startswith(packages)} - {"engines.__init__"}
    for package in packages:
        ours = {name for name in engines if name.startswith(package)}
        assert ours
        assert all(engines[name] <= common | ours | PURE for name in ours)
    settings = {
        "config.vllm",
        "config.openai",
        "config.transformers",
        "config.secret_file",
        "config.units",
        "config.profile",
    }
    settings |= {"config.resolving"}
    assert all(
        {t for t in inner(name) if room(t) == "config"} <= settings for name in engines if "__init__" not in name
    )


def test_what_the_house_looks_like() -> None:
    """Prints the figures; `pytest -s` shows them."""
    arrows = {(name, target) for name in FILES for target in inner(name)}
    between = {(room(name), room(target)) for name, target in arrows if room(name) and room(target)}
    walls = {(mine, other) for mine, other in between if mine != other}
    upward = {(mine, other) for mine, other in walls if LINE[mine] >= LINE[other]}
    print(f"\n{len(LINE)} rooms, {len(walls)} arrows between them, {len(upward)} upward;", end=" ")
    print(f"{len(FILES)} modules, {len(arrows)} imports")
    assert not upward


@pytest.mark.parametrize("name", FILES)
def test_each_library_has_its_own_door(name: str) -> None:
    for target in imports(FILES[name]):
        library = target.partition(".")[0]
        if library == "ocrd" or library in sys.stdlib_module_names:
            continue
        if name.startswith("engines.") and library not in DOORS:
            continue  # an engine is the door of its own libraries
        doors = DOORS.get(library, set())
        assert any(name == door or name.startswith(f"{door}.") for door in doors), (
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
    told = run_python("-c", "import sys, ocrd.daemon.supervisor, ocrd.commands.convert; print(*sys.modules)")
    assert told.returncode == 0, told.stderr
    assert not set(told.stdout.split()) & {"pymupdf", "PIL", "numpy", "cv2", "onnxruntime", "vllm", "torch", "zxingcpp"}
