"""The files of a document: made once it is read, and made anew when pages of it were read again."""

import asyncio
import codecs
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path

import structlog

from ocrd.concurrency.threads import OnDisk
from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import DocumentError, PageError
from ocrd.model import Document
from ocrd.output import kinds, split
from ocrd.output.kinds import Kind, Materials, Replacement, ScanKind, Stream, TextKind
from ocrd.storage import deliveries, durable
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.result import Content

log = structlog.get_logger("ocrd")


async def make(document: Document, watch: Watch, materials: Materials, on_disk: OnDisk) -> dict[str, Content]:
    """Make all files that a watch wants, of each part of a document, by ending. Raises MachineError.

    Where one can't be made of the scan, Markdown takes its place.
    """
    files: dict[str, Content] = {}
    if watch.duplex.blank_backs == "drop":
        document = split.without_blank_backs(document)
    for part in split.parts(document, watch.split):
        if kinds.PDF.name in watch.outputs and not watch.separators_in_pdf:
            part = replace(part, not_in_pdf=split.separation(part, watch.split))  # noqa: PLW2901 - what all are told
        wanted, document_part = list(kinds.named(watch.outputs)), part
        for kind in sorted(wanted, key=lambda kind: not isinstance(kind, ScanKind)):  # the others tell of its failure
            try:
                files[split.ending(part, kind.ending)] = await _made(kind, document_part, materials, on_disk)
            except (DocumentError, PageError) as error:
                event = f"no {kind.name}"
                log.warning(event, source=shown(document.source), reason=str(error))
                document_part = replace(document_part, failures=(*document_part.failures, str(error)))
                if kinds.MARKDOWN not in wanted:
                    wanted.append(kinds.MARKDOWN)
                    files[split.ending(part, kinds.MARKDOWN.ending)] = await _made(
                        kinds.MARKDOWN, document_part, materials, on_disk
                    )
    return files


def figures_beside(document: Document, files: Iterable[str]) -> list[str]:
    """List the pictures that these files of a document, given by ending, have in the folder beside them."""
    suffixes = [split.part_and_suffix(ending)[1] for ending in files]
    if not kinds.link_figures(suffixes):
        return []
    return [name for page in document.pages for name in page.figures if name]


async def replace_pages(
    kind: Kind, delivered: Path, replacement: Replacement, materials: Materials, on_disk: OnDisk
) -> Content | None:
    """Make a file anew with other pages, of a copy of what was delivered; None if it has none of these pages.

    Raises DocumentError if that is not what ocrd wrote, PageError if it can't be made of the scan.
    """
    if isinstance(kind, ScanKind):
        return await kind.replace(delivered, replacement, materials)
    return await on_disk(_rewritten, kind, delivered, replacement, materials)


def streaming(folder: Path, on_disk: OnDisk) -> Stream:
    """Let render workers write files into a folder: through a pipe, since they may write none themselves."""
    numbers = count(1)

    async def stream(write: Callable[[int], Awaitable[None]]) -> Path:
        source, pipe = os.pipe()
        receiving = asyncio.ensure_future(on_disk(durable.receive, source, folder, tag=f"stream-{next(numbers)}"))
        try:
            await write(pipe)
        finally:
            os.close(pipe)
            try:
                kept = await receiving  # if that failed it is why the worker did
            finally:
                os.close(source)
        return kept

    return stream


async def _made(kind: Kind, part: Document, materials: Materials, on_disk: OnDisk) -> Content:
    if isinstance(kind, ScanKind):
        return await kind.make(part, materials)
    return (await on_disk(kind.write, part, materials)).encode()


def _rewritten(kind: TextKind, delivered: Path, replacement: Replacement, materials: Materials) -> bytes:
    """Make a text anew, with the mark at its start and the ends of its lines that an editor may have given it."""
    with machine_faults("read", delivered):
        data = delivered.read_bytes()
    deliveries.check_text(f"{replacement.stem}{kind.ending}", data)
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    of_windows = b"\r\n" in data and data.count(b"\r\n") == data.count(b"\n")
    text = data.removeprefix(mark).decode()
    new = kind.replace(text.replace("\r\n", "\n") if of_windows else text, replacement, materials)
    return mark + (new.replace("\n", "\r\n") if of_windows else new).encode()
