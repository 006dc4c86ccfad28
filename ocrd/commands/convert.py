"""`ocrd convert`: files to Markdown in one shot, without watches, claims or archive."""

import asyncio
import os
import stat
import sys
import tempfile
from pathlib import Path

from ocrd import display, engines
from ocrd.concurrency.fair_window import Window
from ocrd.concurrency.worker_pool import Limits
from ocrd.config.schema import Config, Watch
from ocrd.errors import DocumentError
from ocrd.filetypes import IMAGE_SUFFIXES, in_order, is_source_name
from ocrd.model import PageResult
from ocrd.output.kinds import Materials
from ocrd.output.split import Separator
from ocrd.pipeline import output_files
from ocrd.pipeline.document import Figures, Progress, Tools, opening_for, read_document
from ocrd.rendering.renderer import Renderer
from ocrd.storage import os_errors, publish
from ocrd.storage.result import Result


def convert_files(  # noqa: PLR0913 - as many wishes as the command line has
    files: list[Path],
    output: Path | None,
    settings: Config,
    progress: Progress,
    *,
    outputs: tuple[str, ...] = ("markdown",),
    split: Separator = "none",
) -> bool:
    """Read each file, or folder of images, into `output`, or beside it. Returns whether all could be read.

    `outputs` and `split` are as the settings of a watch.
    What can't be read is told on stderr, and costs no other file. Raises ConfigError, EngineError, MachineError.
    """
    there = [_named(path) for path in files if _is_there(path)]  # a slip of the pen needs no engine to be found
    documents = [document for path in there for document in _documents(path)]
    watch = Watch.model_construct(outputs=outputs, split=split)
    good = asyncio.run(_convert(documents, output, settings, progress, watch)) if documents else 0
    return (good, len(there)) == (len(documents), len(files))


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
        return sum([await _one(path, output or path.parent, tools, watch) for path in files])
    finally:
        await engine.close()
        await renderer.close()


async def _one(path: Path, folder: Path, tools: Tools, watch: Watch) -> bool:
    try:
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
            )
            materials = Materials(watch.style, result.figure, path, tools.renderer)
            made = await output_files.make(document, watch, materials, tools.on_disk)
            result.finish(made, output_files.figures_beside(document, made))
            sidecars = _delivered(result, folder, path.name if path.is_dir() else path.stem)
    except DocumentError as error:
        _refuse(path, error)
        return False
    finally:
        tools.progress.ended(path.name)
    for sidecar in sidecars:
        print(display.shown(sidecar))
    return True


def _refuse(path: Path, error: DocumentError) -> None:
    print(f"ocrd: {display.shown(path)}: {error.what}\n{error.remedy}", file=sys.stderr)


def _delivered(result: Result, folder: Path, stem: str) -> list[Path]:
    """Publish a result, and return where the sidecar of each of its parts lies."""
    with os_errors.machine_faults("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    last = publish.publish(result, folder, stem, tag="convert", recorded=None, record=lambda _: None)
    endings = [piece.ending for piece in result.pieces]
    taken = last.name.removesuffix(endings[-1])
    return [last.with_name(taken + ending) for ending in endings if ending.endswith(last.suffix)]
