"""`ocrd convert`: files to Markdown in one shot, without watches, claims or archive."""

import asyncio
import glob
import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ocrd import display, engines
from ocrd.commands.history import of_name
from ocrd.concurrency.fair_window import Window
from ocrd.concurrency.worker_pool import Limits
from ocrd.config import overrides
from ocrd.config.schema import Config
from ocrd.config.watch import Watch
from ocrd.engines.patience import end_when_away
from ocrd.errors import ConfigError, DocumentError, cause_of
from ocrd.filetypes import IMAGE_SUFFIXES, in_order, is_source_name
from ocrd.model import COMPANION, PageResult
from ocrd.output.kinds import Materials
from ocrd.pipeline import output_files
from ocrd.pipeline.document import Figures, Progress, Tools, approach_of, opening_for, read_document
from ocrd.rendering.renderer import Renderer
from ocrd.storage import os_errors, publish
from ocrd.storage.result import Result

_AT_ONCE = 16
"""Documents in work at the same time: enough for any engine, and few enough bars for a terminal."""
_MOST_NAMED = 10
"""Pages to look at that are named."""


def settings_of(watches: Sequence[Watch], name: str, **given: object) -> Watch:
    """Say how to read and write: as the watch of this name, or the only one, has it, but for what is `given`.

    Raises ConfigError if there is no such watch, or more than one to choose from.
    """
    chosen = of_name(watches, name) if watches else ()
    if len(chosen) > 1:
        names = ", ".join(watch.name for watch in chosen)
        raise ConfigError(f"The configuration has {len(chosen)} watches: {names}.", "Say with --watch whose settings.")
    base = chosen[0] if chosen else Watch.model_construct()
    return base.model_copy(update={key: value for key, value in given.items() if value is not None})


def convert_files(
    files: Sequence[Path], output: Path | None, settings: Config, progress: Progress, watch: Watch
) -> bool:
    """Read each file, folder or glob into `output`, or beside it, as `watch` has it. Returns whether all could be read.

    Of a folder, all images are one document, and each PDF is one. What can't be read is told on stderr, and costs no
    other file. Raises ConfigError, EngineError, MachineError.
    """
    given = [found for path in files for found in _matching(path)]
    there = [_named(path) for path in given if _is_there(path)]  # a slip of the pen needs no engine to be found
    documents = list(dict.fromkeys(document for path in there for document in _documents(path)))
    good = asyncio.run(_convert(documents, output, settings, progress, watch)) if documents else 0
    return (good, len(there)) == (len(documents), len(given))


def _matching(path: Path) -> list[Path]:
    """List the sources that a glob matches, where a shell has left it as it is; anything else stands for itself."""
    if os.path.lexists(path) or not glob.has_magic(str(path)):
        return [path]
    found = sorted(map(Path, glob.glob(str(path), recursive=True)), key=lambda one: in_order(str(one)))
    return [one for one in found if one.is_dir() or is_source_name(one.name)] or [path]


def _documents(path: Path) -> list[Path]:
    """List what is one document each: a file; of a folder all of its images together, and every PDF."""
    if not path.is_dir():
        return [path]
    sources = sorted((one for one in path.iterdir() if is_source_name(one.name)), key=lambda one: in_order(one.name))
    alone = [one for one in sources if one.suffix.lower() not in IMAGE_SUFFIXES and one.is_file()]
    images = [path] if len(alone) < len(sources) or not sources else []
    return images + alone


def _is_there(path: Path) -> bool:
    try:
        _look_at(path)
    except DocumentError as error:
        _refuse(path, error)
        return False
    return True


def _look_at(path: Path) -> None:
    """Raise DocumentError for what can't be opened, or, as a pipe, would not come to an end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        remedy = "Give the path of a file, or of a folder of images."
        raise DocumentError(f"{error.strerror}.", remedy) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DocumentError("This is neither a file nor a folder.", "Save what it brings to a file first.")
    if not os.access(path, os.R_OK):
        raise DocumentError("Permission denied.", "Make it readable (chmod a+r), or run this as its owner.")


def _named(path: Path) -> Path:
    """Spell out what has no name of its own, such as `.`, since the sidecar is named for it."""
    return path if path.name.strip(".") else path.resolve()


async def _convert(files: list[Path], output: Path | None, settings: Config, progress: Progress, watch: Watch) -> int:
    engine = engines.load(settings.engine)
    renderer = Renderer(
        settings.render.count, Limits(settings.render.page_timeout, settings.render.memory), settings.render.images
    )
    try:
        await engine.start()
        tools = Tools(engine, renderer, Window(engine.window + 2 * renderer.workers), progress=progress)
        async with asyncio.TaskGroup() as group:
            patience = group.create_task(end_when_away(engine))
            good = await _all(files, output, tools, watch)
            patience.cancel()
    except BaseExceptionGroup as several:
        raise cause_of(several) from None
    finally:
        await engine.close()
        await renderer.close()
    return good


async def _all(files: Sequence[Path], output: Path | None, tools: Tools, watch: Watch) -> int:
    """Read files side by side, and publish them one after the other, as they were given. Returns how many were read."""
    at_once = asyncio.Semaphore(_AT_ONCE)  # it lets them in by their order, so that each waits for those in work only
    turns = [asyncio.Event() for _ in range(len(files) + 1)]
    turns[0].set()

    async def one(number: int, path: Path) -> bool:
        async with at_once:
            try:
                await _one(path, output or path.parent, tools, watch, turns[number])
            except DocumentError as error:
                await turns[number].wait()
                _refuse(path, error)
                return False
            finally:
                tools.progress.ended(path.name)
                turns[number + 1].set()
            return True

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number, path)) for number, path in enumerate(files)]
    except BaseExceptionGroup as several:
        raise cause_of(several) from None
    return sum(task.result() for task in tasks)


async def _one(path: Path, folder: Path, tools: Tools, watch: Watch, turn: asyncio.Event) -> None:
    """Read a document; when it is its turn, publish it, and print where the sidecar of each of its parts lies."""
    own = _own_settings(path)
    options = overrides.read(own)
    approach = approach_of(options, tools.engine, " and ".join(map(display.shown, own)))
    watch = overrides.applied(options, watch)
    tools = await opening_for(watch, tools)
    facts = await tools.renderer.open(path)
    with tempfile.TemporaryDirectory(prefix="ocrd-convert-") as scratch:
        result = Result(Path(scratch))

        async def keep(_: PageResult, figures: Figures) -> None:
            result.keep_figures(figures)

        document = await read_document(
            path,
            path.name,
            facts,
            tools,
            keep=keep,
            settings=watch.pages,
            separators=watch.sheets,
            illustrate=watch.illustrated,
            approach=approach,
        )
        document = replace(document, settings=overrides.as_facts(options))
        stream = output_files.streaming(Path(scratch), tools.on_disk)
        materials = Materials(watch.style, result.figure, path, tools.renderer, stream)
        made = await output_files.make(document, watch, materials, tools.on_disk)
        result.finish(made, output_files.figures_beside(document, made))
        await turn.wait()
        for sidecar in _delivered(result, folder, path.name if path.is_dir() else path.stem):
            print(display.shown(sidecar))
    if document.problems:
        numbers = ", ".join(str(page.index + 1) for page in document.problems[:_MOST_NAMED])
        more = " …" if len(document.problems) > _MOST_NAMED else ""
        print(f"ocrd: {display.shown(path)}: pages to look at: {numbers}{more}", file=sys.stderr)


def _own_settings(path: Path) -> dict[str, str | None]:
    """Read the settings of the folder that a scan lies in, and its companion's, by their paths."""
    around = path / COMPANION if path.is_dir() else path.with_name(COMPANION)
    found: dict[str, str | None] = {}
    for companion in (around, path.with_name(path.name + COMPANION)):
        with suppress(FileNotFoundError):
            try:
                with companion.open("rb") as file:
                    found[str(companion)] = file.read(overrides.MOST + 1).decode(errors="surrogateescape")
            except (PermissionError, IsADirectoryError):
                found[str(companion)] = None
    return found


def _refuse(path: Path, error: DocumentError) -> None:
    print(f"ocrd: {display.shown(path)}: {error.what}\n{error.remedy}", file=sys.stderr)


def _delivered(result: Result, folder: Path, stem: str) -> list[Path]:
    """Publish a result, and return where the sidecar of each of its parts lies."""
    with os_errors.machine_faults("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    last = publish.publish(result, folder, stem, tag="convert", recorded=None, record=lambda _: None, own_stem=False)
    endings = [piece.ending for piece in result.pieces]
    taken = last.name.removesuffix(endings[-1])
    return [last.with_name(taken + ending) for ending in endings if ending.endswith(last.suffix)]
