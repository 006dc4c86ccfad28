"""`ocrd convert`: files to Markdown in one shot, without watches, claims or archive."""

import asyncio
import tempfile
from pathlib import Path

import structlog

from ocrd import engines, fsio, outputs, publish
from ocrd.config import Config, Pages, Watch
from ocrd.errors import DocumentError
from ocrd.model import PageResult
from ocrd.pipeline import Figures, Progress, Tools, read_document
from ocrd.render import Renderer
from ocrd.result import Result
from ocrd.window import Window
from ocrd.workers import Limits

log = structlog.get_logger("ocrd")


def convert_files(files: list[Path], output: Path | None, settings: Config, progress: Progress) -> bool:
    """Read each file into `output`, or beside it. Returns whether all could be read.

    Raises ConfigError, EngineError, MachineError.
    """
    return asyncio.run(_convert(files, output, settings, progress))


async def _convert(files: list[Path], output: Path | None, settings: Config, progress: Progress) -> bool:
    engine = engines.load(settings.engine)
    renderer = Renderer(
        settings.render.count, Limits(settings.render.page_timeout, settings.render.memory), settings.render.images
    )
    try:
        await engine.start()
        tools = Tools(engine, renderer, Window(engine.window + 2 * renderer.workers), progress=progress)
        good = [await _one(path, output or path.parent, tools) for path in files]
    finally:
        await engine.close()
        await renderer.close()
    return all(good)


async def _one(path: Path, folder: Path, tools: Tools) -> bool:
    try:
        facts = await tools.renderer.open(path)
        with tempfile.TemporaryDirectory(prefix="ocrd-convert-") as scratch:
            result = Result(Path(scratch))

            async def keep(page: PageResult, figures: Figures) -> None:
                result.keep_figures(page.index + 1, figures)

            document = await read_document(path, path.name, facts, tools, keep=keep, settings=Pages())
            result.finish(outputs.files(document, Watch.model_construct()), outputs.figures(document))
            target = _delivered(result, folder, path.name)
    except DocumentError as error:
        log.warning("refused", source=fsio.shown(path), what=error.what, remedy=error.remedy)
        return False
    tools.progress.ended(path.name)
    print(fsio.shown(target))
    return True


def _delivered(result: Result, folder: Path, name: str) -> Path:
    with fsio.machine_faults("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    return publish.publish(result, folder, Path(name).stem, tag="convert", recorded=None, record=lambda _: None)
