"""`ocrd convert`: files to Markdown in one shot, without watches, claims or archive."""

import asyncio
from pathlib import Path

import structlog

from ocrd import engines, fsio, markdown
from ocrd.config import Config
from ocrd.errors import DocumentError
from ocrd.pipeline import Progress, Tools, read_document
from ocrd.publish import sidecar_name
from ocrd.render import Renderer
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
    renderer = Renderer(settings.render.count, Limits(settings.render.page_timeout, settings.render.memory))
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
        document = await read_document(path, path.name, facts, tools)
    except DocumentError as error:
        log.warning("refused", source=fsio.shown(path), what=error.what, remedy=error.remedy)
        return False
    data = markdown.sidecar(document, front_matter=True).encode()
    with fsio.machine_faults("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    while True:
        target = folder / fsio.free_name(folder, sidecar_name(path.name))
        try:
            fsio.write_new(target, data, tag="convert")
        except FileExistsError:
            continue  # taken in this moment
        break
    tools.progress.ended(path.name)
    print(fsio.shown(target))
    return True
