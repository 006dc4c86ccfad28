"""One document from the claim to the archive. READ THIS FIRST.

`run_job` is the main path. Each of its steps is durable before the next begins, and finds out by itself what was done
before a crash: the table in spool.py tells how.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ocrd.config import overrides
from ocrd.config.watch import Options, Watch
from ocrd.display import shown
from ocrd.errors import DocumentError
from ocrd.model import Document, PageResult
from ocrd.output import document_name, front_matter, kinds, markdown
from ocrd.output.document_name import NameFacts
from ocrd.output.kinds import Materials
from ocrd.pipeline import ledger_upkeep, output_files
from ocrd.pipeline.attempts import charged, earlier_attempts
from ocrd.pipeline.document import Figures, Tools, approach_of, opening_for, provenance, read_document
from ocrd.pipeline.outcome import Outcome
from ocrd.storage import deliveries, ledger, notes, publish
from ocrd.storage.job import Job, refusal_of
from ocrd.storage.ledger import Entry
from ocrd.storage.naming import access_of
from ocrd.storage.result import Result
from ocrd.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class Duplicate:
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
        tools.in_flight.done(job.id)


async def _run_job(job: Job, watch: Watch, spool: Spool, tools: Tools) -> Outcome:
    document = None
    finished = await tools.on_disk(_is_finished, job)
    if not finished and "archive" in job.record.names:  # a duplicate, of whose files some are there already
        original = await tools.on_disk(_archive, job, watch, spool)
        return Outcome("skipped", original, original, reason="delivered before")
    if not finished and job.record.refusal is None:
        async with charged(job, tools):
            result: Document | Duplicate | DocumentError
            try:
                tools = await opening_for(watch, tools)
                options = overrides.read(job.record.settings)
                watch = overrides.applied(options, watch)
                result = await _read(job, watch, options, spool, tools)
            except DocumentError as error:
                result = error
            if not await tools.on_disk(job.unchanged):  # somebody still writes to it: no reading of it counts
                path = await tools.on_disk(spool.give_back, job)
                return Outcome("returned", path, path)
            if isinstance(result, DocumentError):
                await tools.on_disk(job.update, refusal=refusal_of(result))
            elif isinstance(result, Duplicate):
                if watch.duplicates == "skip":
                    return await _skip(job, watch, spool, result, tools)
                await tools.on_disk(_keep_link, job, watch, result)
            else:
                document = result
                stream = output_files.streaming(job.folder, tools.on_disk)
                materials = Materials(watch.style, Result(job.folder).figure, job.source, tools.renderer, stream)
                files = await output_files.make(result, watch, materials, tools.on_disk)
                given = _given(job, watch, result.facts.sha256, result.facts.pages, _barcode(result, watch))
                await tools.on_disk(job.update, partial=result.status == "partial", given=given)
                figures = output_files.figures_beside(result, files)
                await tools.on_disk(job.keep_result, files, figures, ledger.facts(result))
    if job.record.refusal is not None:
        return await _refuse(job, watch, spool, tools)
    delivered, facts = await tools.on_disk(_deliver, job, watch, spool)
    await tools.on_disk(_record, job, watch, spool)
    await tools.on_disk(notes.clear, job, watch.error, front_matter.is_own_note)
    told = Outcome("delivered", delivered[-1], None, document, files=delivered, facts=facts)
    return await _put_away(job, watch, spool, told, tools)


async def _put_away(job: Job, watch: Watch, spool: Spool, delivered: Outcome, tools: Tools) -> Outcome:
    """Move the source of a delivered document to where it belongs. Returns the outcome with that."""
    to_error = job.record.partial and watch.partial == "error"
    home, role = (watch.error, "error") if to_error else (watch.archive, "archive")

    def outcome() -> Outcome:
        return replace(delivered, original=spool.place_of(job, role, home), originals=_originals(job, role, home))

    def before() -> None:
        tools.before_end(outcome())

    if to_error:
        sidecar, date = shown(delivered.path.relative_to(watch.outbox)), delivered.facts["date"]
        note = front_matter.note_of_problems(Path(job.record.name).name, sidecar, date, watch.name)
        await tools.on_disk(_move_to_error, job, watch, spool, note, before)
    else:
        await tools.on_disk(_archive, job, watch, spool, before)
    return outcome()


async def _read(job: Job, watch: Watch, options: Options, spool: Spool, tools: Tools) -> "Document | Duplicate":
    """Read a job's source, but for the pages that were read before a restart, or find that it was delivered before."""
    earlier = earlier_attempts(job, tools)
    approach = approach_of(options, tools.engine, " and ".join(map(shown, job.record.settings)))
    dropped_as = tuple(job.record.dropped.values())
    facts = replace(await tools.renderer.open(job.source), files=job.record.paths, dropped_as=dropped_as)
    if watch.duplicates != "process":
        await tools.in_flight.turn((watch.name, facts.sha256), job.id)
        if known := await _earlier(watch, spool, facts.sha256, tools):
            date = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
            ledger_facts = {"date": date, "sha256": facts.sha256, "pages": facts.pages, "status": "duplicate"}
            return Duplicate(known, ledger_facts)
    read_so = provenance(facts, watch, approach, tools)

    async def keep(page: PageResult, figures: Figures) -> None:
        await tools.on_disk(job.keep_page, page, read_so, figures)

    kept = await tools.on_disk(job.kept_pages, read_so)
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
        any_barcode=watch.looks_for_barcodes,
        illustrate=watch.illustrated,
        approach=approach,
    )
    return replace(document, settings=overrides.as_facts(options))


def _given(job: Job, watch: Watch, sha256: str, pages: int, barcode: str) -> str:
    """Return the path, without an ending, that the watch wants for what comes of a source; empty: as it was dropped."""
    if not watch.renames:
        return ""
    path = Path(job.record.name if job.record.members else job.record.stem)
    try:
        date = datetime.fromtimestamp(job.record.modified).astimezone()
    except (ValueError, OverflowError, OSError):  # far off any calendar, as anybody can set it
        date = datetime.fromtimestamp(job.claimed).astimezone()
    folder = "" if path.parent == Path() else str(path.parent)
    facts = NameFacts(path.name, date, watch.name, folder, barcode, pages, sha256)
    return str(path.with_name(document_name.made(watch.file_name, facts)))


def _barcode(document: Document, watch: Watch) -> str:
    """Return the text of the first barcode, but for one that does nothing but separate."""
    found = (page.facts.barcode for page in document.pages if page.facts)
    return next((text for text in found if text and text not in watch.sheets), "")


def _is_finished(job: Job) -> bool:
    """Whether nothing is to be read any more."""
    return job.result is not None


def _deliver(job: Job, watch: Watch, spool: Spool) -> tuple[tuple[Path, ...], dict[str, Any]]:
    """Publish the result. Returns where its files lie, the sidecar last, and its facts. Raises MachineError."""
    result = job.result
    if result is None:
        raise AssertionError(job.folder)
    spool.check_mount(watch.outbox)
    pieces, facts = result.pieces, result.facts
    sidecar = publish.publish(
        result,
        watch.outbox,
        job.record.stem,
        tag=job.id,
        recorded=job.record.names.get("sidecar"),
        record=lambda name: job.name_for("sidecar", name),
        access=access_of(watch),
    )
    stem = sidecar.name.removesuffix(pieces[-1].ending)
    return tuple(sidecar.with_name(stem + piece.ending) for piece in pieces), facts


def _originals(job: Job, role: str, home: Path) -> tuple[Path, ...]:
    """Say where the files of a source lie, once it was moved out."""
    return tuple(home / f"{job.record.names[role]}{ending}" for ending in job.record.stamps)


async def _earlier(watch: Watch, spool: Spool, sha256: str, tools: Tools) -> Entry | None:
    """Find the earlier delivery of the same content, as long as its sidecar lies there."""
    earlier = await ledger_upkeep.earlier(spool, watch, sha256, tools.on_disk)
    if earlier is None:
        return None
    sidecar = await tools.on_disk(deliveries.still_there, watch, earlier)
    return replace(earlier, sidecar=sidecar) if sidecar else None


def _record(job: Job, watch: Watch, spool: Spool) -> None:
    """Tell the ledger of a delivery."""
    result = job.result
    if result and result.facts and watch.keeps_ledger:
        kind = "linked" if result.facts["status"] == "duplicate" else "delivered"
        entry = Entry(job.id, source=job.record.name, kind=kind, sidecar=job.record.names["sidecar"], **result.facts)
        spool.ledger.record(entry)


def _archive(job: Job, watch: Watch, spool: Spool, before: Callable[[], None] | None = None) -> Path:
    return spool.archive(job, watch.archive, access_of(watch), before)


def _move_to_error(job: Job, watch: Watch, spool: Spool, note: str, before: Callable[[], None]) -> Path:
    return spool.refuse(job, watch.error, note.encode(), access_of(watch), before)


def _keep_link(job: Job, watch: Watch, duplicate: Duplicate) -> None:
    """Make a file the result that points to the earlier delivery: Markdown, or text where only that is wanted."""
    job.update(given=_given(job, watch, duplicate.facts["sha256"], duplicate.facts["pages"], ""))
    job.keep_result(_link(job, watch, duplicate), (), duplicate.facts)


def _link(job: Job, watch: Watch, duplicate: Duplicate) -> dict[str, bytes]:
    links = [
        os.path.relpath(one, Path(job.record.name).parent) for one in deliveries.parts(watch, duplicate.earlier.sidecar)
    ]
    if kinds.TEXT.name in watch.outputs and kinds.MARKDOWN.name not in watch.outputs:
        text = f"The same file was read before, as {shown(duplicate.earlier.source)}: {', '.join(map(shown, links))}\n"
        return {kinds.TEXT.ending: text.encode()}
    facts = {**duplicate.facts, "source": shown(job.record.name)}
    return {kinds.MARKDOWN.ending: markdown.duplicate(facts, duplicate.earlier.source, links, watch.style).encode()}


async def _skip(job: Job, watch: Watch, spool: Spool, duplicate: Duplicate, tools: Tools) -> Outcome:
    """Archive a duplicate without a sidecar."""
    entry = Entry(job.id, source=job.record.name, kind="skipped", sidecar=duplicate.earlier.sidecar, **duplicate.facts)
    await tools.on_disk(spool.ledger.record, entry)
    original = await tools.on_disk(_archive, job, watch, spool)
    reason = f"the same as {shown(duplicate.earlier.source)}, delivered {duplicate.earlier.date}"
    return Outcome("skipped", original, original, reason=reason)


async def _refuse(job: Job, watch: Watch, spool: Spool, tools: Tools) -> Outcome:
    refusal = job.record.refusal
    if refusal is None:
        raise AssertionError(job.folder)
    await tools.on_disk(notes.clear, job, watch.error, front_matter.is_own_note)
    note = front_matter.note(Path(job.record.name).name, refusal.what, refusal.remedy, refusal.date, watch.name)

    def outcome() -> Outcome:
        path, originals = spool.place_of(job, "error", watch.error), _originals(job, "error", watch.error)
        return Outcome("refused", path, path, reason=refusal.what, originals=originals)

    await tools.on_disk(_move_to_error, job, watch, spool, note, lambda: tools.before_end(outcome()))
    return outcome()
