"""One document from the claim to the archive. READ THIS FIRST.

`run_job` is the main path. Each of its steps is durable before the next begins, and finds out by itself what was done
before a crash: the table in spool.py tells how.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog

from ocrd.concurrency.fair_window import Window
from ocrd.config import overrides
from ocrd.config.schema import Options, Pages, Watch
from ocrd.engines.base import Engine
from ocrd.errors import DocumentError, EngineError, MachineError, PageError, cause_of
from ocrd.model import DEFAULT_APPROACH, Approach, Document, PageResult, SourceFacts, Verdict
from ocrd.output import files as outputs
from ocrd.output import layout_blocks, markdown, split
from ocrd.pipeline.in_flight import Twins
from ocrd.pipeline.page_reader import PageReader
from ocrd.rendering.renderer import Renderer
from ocrd.storage import deliveries, ledger, publish
from ocrd.storage.durable import machine_faults, shown
from ocrd.storage.job import Job, refusal_of
from ocrd.storage.ledger import Entry, Ledger
from ocrd.storage.spool import Spool

log = structlog.get_logger("ocrd")

R = TypeVar("R")
Figures = Mapping[str, bytes]
"""Pictures cropped from a page, by name."""

MOST_FIGURES = 48
"""On one page; an engine that loops can name thousands."""


class Interrupted(Exception):  # noqa: N818 - a wish of the owner's, not an error
    """The window was closed before the last page: what was read is kept, and the rest left for the next start."""


class Progress:
    """Hears how documents get on; does nothing by itself."""

    def opened(self, name: str, pages: int, kept: int) -> None:
        """Tell that a source turned out to have so many pages, some of them read before a restart."""

    def page(self, name: str, result: PageResult) -> None:
        """Tell that one page is done."""

    def ended(self, name: str) -> None:
        """Tell that a document is delivered, refused or given back."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every document is read with."""

    engine: Engine
    """Started."""
    renderer: Renderer
    """The render workers."""
    window: Window
    """The pages in flight, of all documents together."""
    max_attempts: int = 3
    """Unexplained deaths after which a source is refused."""
    progress: Progress = field(default_factory=Progress)
    """Who wants to know."""
    twins: Twins = field(default_factory=Twins)
    """What content is in work, for watches that do not read the same twice."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    kind: str
    """`delivered`, `refused`, `returned` (put back into the inbox, since it changed), `skipped` (a duplicate); of a
    rerun `reread`, or `not reread`."""
    path: Path
    """Where the sidecar lies; for refused, returned and skipped ones, where the source lies now."""
    original: Path | None
    """Where the source lies now; None if it was not found."""
    document: Document | None = None
    """What was read, unless that was done before a restart."""
    reason: str = ""
    """Why it was refused."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A source whose content was delivered before."""

    earlier: Entry
    """That delivery."""
    facts: dict[str, Any]
    """What the ledger is to tell of this one."""


async def run_job(job: Job, watch: Watch, spool: Spool, tools: Tools) -> Outcome:
    """Take one job from wherever it is to its end.

    Raises MachineError (try again later: nothing is lost), EngineError, Interrupted. The attempt is then refunded.
    """
    try:
        return await _run_job(job, watch, spool, tools)
    finally:
        tools.twins.done(job.id)


async def _run_job(job: Job, watch: Watch, spool: Spool, tools: Tools) -> Outcome:
    document = None
    if job.result is None and "archive" in job.record.names:  # a duplicate, of whose files some are there already
        original = await durably(spool.archive, job, watch.archive, watch.access)
        return Outcome("skipped", original, original, reason="delivered before")
    if job.result is None and job.record.refusal is None:
        async with charged(job):
            result: Document | Twin | DocumentError
            try:
                options = overrides.read(job.record.settings)
                watch = overrides.applied(options, watch)
                result = await _read(job, watch, options, tools)
            except DocumentError as error:
                result = error
            if not job.unchanged():  # somebody still writes to it: what was read is worth nothing, good or bad
                path = await durably(spool.give_back, job)
                return Outcome("returned", path, path)
            if isinstance(result, DocumentError):
                await durably(job.update, refusal=refusal_of(result))
            elif isinstance(result, Twin):
                if watch.duplicates == "skip":
                    return await _skip(job, watch, spool, result)
                await durably(job.keep_result, {".md": _link(job, watch, result)}, (), result.facts)
            else:
                document = result
                files = await durably(outputs.files, result, watch)
                files |= await _searchable(job.source, result, watch, tools)
                await durably(job.update, partial=bool(result.problems))
                await durably(job.keep_result, files, outputs.figures(result), ledger.facts(result))
    if job.record.refusal is not None:
        return await _refuse(job, watch, spool)
    sidecar = await durably(_deliver, job, watch, spool)
    await durably(_record, job, watch)
    await durably(spool.clear_note, job, watch.error, markdown.is_own_note)
    to_error = job.record.partial and watch.partial == "error"
    archived = await durably(spool.archive, job, watch.error if to_error else watch.archive, watch.access)
    return Outcome("delivered", sidecar, archived, document)


async def read_document(  # noqa: PLR0913 - a job has more to say than a file on the command line
    path: Path,
    name: str,
    facts: SourceFacts,
    tools: Tools,
    *,
    attempts: int = 0,
    kept: dict[int, PageResult] | None = None,
    keep: Callable[[PageResult, Figures], Awaitable[None]],
    settings: Pages,
    separators: tuple[str, ...] = (),
    illustrate: bool = True,
    approach: Approach = DEFAULT_APPROACH,
) -> Document:
    """Read every page of a source that `kept` does not hold yet; `keep` makes each result durable with its figures.

    Raises DocumentError if not one page could be read, Interrupted, and whatever `keep` and the engine raise.
    """
    began = time.monotonic()
    pages = dict(kept or {})
    reader = PageReader(tools.engine, tools.renderer, settings, separators, approach)
    tools.progress.opened(name, facts.pages, len(pages))

    async def read(index: int) -> None:
        page = await reader.read(path, index, priority=len(missing))  # the same for all, so that they keep their order
        figures: Figures = {}
        if illustrate:
            page, figures = await _illustrated(path, page, tools)
        await keep(page, figures)
        pages[index] = page
        tools.progress.page(name, page)

    missing = [index for index in range(facts.pages) if index not in pages]
    try:
        async with asyncio.TaskGroup() as group:
            for number, index in enumerate(missing):
                pages_left = len(missing) - number
                if not await tools.window.enter(path, attempts=attempts, pages_left=pages_left):
                    break  # we are to stop: the pages in flight are the last
                task = group.create_task(read(index))
                task.add_done_callback(lambda _: tools.window.leave())  # also when it is cancelled before it began
    except BaseExceptionGroup as several:
        raise cause_of(several) from None
    if len(pages) < facts.pages:
        raise Interrupted
    results = tuple(pages[index] for index in range(facts.pages))
    _refuse_if_nothing_was_read(results)
    info = tools.engine.info
    return Document(
        name,
        facts,
        results,
        info.kind,
        f"{info.model} ({info.version})",
        datetime.now(UTC).astimezone(),
        time.monotonic() - began,
    )


@asynccontextmanager
async def charged(job: Job) -> AsyncIterator[None]:
    """Charge the attempt while the work inside lasts; what the source is not to blame for is refunded."""
    await durably(job.charge)
    try:
        with machine_faults("read", job.source):  # what a library lets through is never the document's fault
            yield
    except (asyncio.CancelledError, EngineError, MachineError, Interrupted):
        with suppress(MachineError):  # then it stays charged, which the next refund or the limit will show
            job.refund()
        raise


def earlier_attempts(job: Job, tools: Tools) -> int:
    """Count the deaths while this job was read. Raises DocumentError if these were enough."""
    earlier = job.record.attempts - 1
    if earlier >= tools.max_attempts:
        raise DocumentError(
            f"ocrd died {earlier} times while it read this file, and nobody could say why.",
            "Print it to a new PDF, or scan it again; the log of those times may tell more.",
        )
    return earlier


def approach_of(options: Options, engine: Engine, where: str) -> Approach:
    """Say how the engine is to read a scan with these settings, which stand `where` a person can find them.

    Raises DocumentError if it can't read so.
    """
    approach = overrides.approach(options)
    if approach == DEFAULT_APPROACH:
        return approach
    accept = getattr(engine, "accept", None)
    if accept is None:
        raise DocumentError(
            f"{where}: the engine {engine.info.kind} takes neither prompt nor languages of a single scan.",
            "Take them out.",
        )
    try:
        accept(approach)
    except DocumentError as error:
        raise DocumentError(f"{where}: {error.what}", error.remedy) from error
    return approach


def provenance(facts: SourceFacts, watch: Watch, approach: Approach, tools: Tools) -> str:
    """Name all that a reading depends on: a page that was kept counts only for the same."""
    sheets = f" {watch.sheets}" if watch.sheets else ""
    own = f" {approach}" if approach != DEFAULT_APPROACH else ""
    return f"{facts.sha256} {tools.engine.info.fingerprint} {watch.pages.model_dump_json()}{sheets}{own}"


async def _read(job: Job, watch: Watch, options: Options, tools: Tools) -> "Document | Twin":
    """Read a job's source, but for the pages that were read before a restart, or find that it was delivered before."""
    earlier = earlier_attempts(job, tools)
    approach = approach_of(options, tools.engine, " and ".join(map(shown, job.record.settings)))
    facts = replace(await tools.renderer.open(job.source), files=job.record.paths)
    if watch.duplicates != "process":
        await tools.twins.turn((watch.name, facts.sha256), job.id)
        if known := await durably(_earlier, watch, facts.sha256):
            date = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
            told = {"date": date, "sha256": facts.sha256, "pages": facts.pages, "status": "duplicate"}
            return Twin(known, told)
    read_so = provenance(facts, watch, approach, tools)

    async def keep(page: PageResult, figures: Figures) -> None:
        await durably(job.keep_page, page, read_so, figures)

    kept = await durably(job.kept_pages, read_so)
    document = await read_document(
        job.source,
        job.record.name,
        facts,
        tools,
        attempts=earlier,
        kept=kept,
        keep=keep,
        settings=watch.pages,
        separators=watch.sheets,
        illustrate=outputs.with_figures(watch),
        approach=approach,
    )
    return replace(document, settings=overrides.as_told(options))


async def _illustrated(path: Path, page: PageResult, tools: Tools) -> tuple[PageResult, Figures]:
    """Crop the pictures of a page. One that can't be cropped costs only itself."""
    boxes = layout_blocks.pictures(page.reading.text)[:MOST_FIGURES] if page.reading else []
    if not boxes or page.facts is None:
        return page, {}
    reason = "they are too small to show anything"
    try:
        images = await tools.renderer.figures(path, page.index, boxes, page.facts.placement)
    except PageError as error:
        images, reason = [b"" for _ in boxes], str(error)
    if b"" in images:
        log.warning("figures lost", source=shown(path), page=page.index + 1, figures=images.count(b""), reason=reason)
    names = [f"page-{page.index + 1}-figure-{number}.jpg" for number in range(1, len(images) + 1)]
    figures = {name: image for name, image in zip(names, images, strict=True) if image}
    return replace(page, figures=tuple(name if name in figures else "" for name in names)), figures


async def _searchable(path: Path, document: Document, watch: Watch, tools: Tools) -> Figures:
    """Make the PDF of each part, if it is wanted. Where it can't be made, Markdown takes its place."""
    files: dict[str, bytes] = {}
    for part in split.parts(document, watch.split) if "pdf" in watch.outputs else ():
        only = [page.index for page in part.pages] if part.part else []
        try:
            files[outputs.ending(part, ".pdf")] = await tools.renderer.searchable(path, document.pages, only)
        except (DocumentError, PageError) as error:
            log.warning("no pdf", source=shown(document.source), reason=str(error))
            sidecar = markdown.sidecar(part, outputs.style_of(watch))
            files[outputs.ending(part, ".md")] = sidecar.encode()
    return files


def _refuse_if_nothing_was_read(pages: tuple[PageResult, ...]) -> None:
    """Keep a sidecar of placeholders alone from going out: it would look delivered and hold nothing."""
    if all(page.verdict is Verdict.FAILED for page in pages):
        whose = "Its only page" if len(pages) == 1 else f"None of its {len(pages)} pages"
        verb = "could not be read" if len(pages) == 1 else "could be read; the first"
        raise DocumentError(f"{whose} {verb}: {pages[0].reason}", "The pages' own reasons tell what to do.")


def _deliver(job: Job, watch: Watch, spool: Spool) -> Path:
    result = job.result
    if result is None:
        raise AssertionError(job.folder)
    spool.check_mount(watch.outbox)
    return publish.publish(
        result,
        watch.outbox,
        job.record.stem,
        tag=job.id,
        recorded=job.record.names.get("sidecar"),
        record=lambda name: job.name_for("sidecar", name),
        access=watch.access,
    )


def _earlier(watch: Watch, sha256: str) -> Entry | None:
    """Find the earlier delivery of the same content; to link to one its sidecar must still lie there."""
    earlier = Ledger(watch.work_folder, watch.outbox).earlier(sha256)
    if earlier and watch.duplicates == "link" and not (watch.outbox / earlier.sidecar).exists():
        return None
    return earlier


def _record(job: Job, watch: Watch) -> None:
    """Tell the ledger of a delivery."""
    result = job.result
    if result and result.facts and (watch.history or watch.duplicates != "process"):
        kind = "linked" if result.facts["status"] == "duplicate" else "delivered"
        entry = Entry(job.id, source=job.record.name, kind=kind, sidecar=job.record.names["sidecar"], **result.facts)
        Ledger(watch.work_folder, watch.outbox).record(entry)


def _link(job: Job, watch: Watch, twin: Twin) -> bytes:
    links = [
        os.path.relpath(one, Path(job.record.name).parent) for one in deliveries.parts(watch, twin.earlier.sidecar)
    ]
    told = {**twin.facts, "source": shown(job.record.name)}
    return markdown.duplicate(told, twin.earlier.source, links, outputs.style_of(watch)).encode()


async def _skip(job: Job, watch: Watch, spool: Spool, twin: Twin) -> Outcome:
    """Archive a duplicate without a sidecar."""
    entry = Entry(job.id, source=job.record.name, kind="skipped", sidecar=twin.earlier.sidecar, **twin.facts)
    await durably(Ledger(watch.work_folder, watch.outbox).record, entry)
    original = await durably(spool.archive, job, watch.archive, watch.access)
    reason = f"the same as {shown(twin.earlier.source)}, delivered {twin.earlier.date}"
    return Outcome("skipped", original, original, reason=reason)


async def _refuse(job: Job, watch: Watch, spool: Spool) -> Outcome:
    refusal = job.record.refusal
    if refusal is None:
        raise AssertionError(job.folder)
    await durably(spool.clear_note, job, watch.error, markdown.is_own_note)
    note = markdown.note(Path(job.record.name).name, refusal.what, refusal.remedy, refusal.date)
    path = await durably(spool.refuse, job, watch.error, note.encode(), watch.access)
    return Outcome("refused", path, path, reason=refusal.what)


async def durably(step: Callable[..., R], *args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - passed through
    """Run a step on the disk beside the event loop. A cancel waits for its end: no step is left half known."""
    task = asyncio.ensure_future(asyncio.to_thread(step, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
