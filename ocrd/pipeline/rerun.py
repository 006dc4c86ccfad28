"""Some pages of a delivered document, read again: from the request to the files in the outbox.

The original is read where it lies, and never moved. Each step is durable before the next begins:

    work/<id>/job.json         what is asked for; the names of the files kept as NAME.bak, and of those exchanged
    work/<id>/pages/, figures/ each page's result, as of any job
    work/<id>/again/old.md …   the files in the outbox, as they were when the pages were put into them
    work/<id>/again/new.md …   the same with the new pages
    work/<id>/again.json       their list, from which moment nothing is read again

Then the new figures go out under names of their own, and file after file, the sidecar first, is kept as NAME.bak and
exchanged in one step. A file that somebody changed meanwhile is left, and the pages are put into what it is now.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from ocrd.config import overrides
from ocrd.config.watch import Options, Watch
from ocrd.display import counted, shown
from ocrd.errors import DocumentError, MachineError, PageError
from ocrd.model import COMPANION, Approach, Document, PageResult, SourceFacts, Verdict
from ocrd.output import kinds
from ocrd.output.kinds import Kind, Materials, Replacement
from ocrd.output.result_names import ASSETS
from ocrd.pipeline import output_files
from ocrd.pipeline.attempts import charged, earlier_attempts
from ocrd.pipeline.document import Figures, Tools, approach_of, opening_for, provenance, read_document
from ocrd.pipeline.outcome import Outcome
from ocrd.storage import comparing, deliveries, durable, leftovers, naming, originals, os_errors
from ocrd.storage.deliveries import Delivered
from ocrd.storage.job import RECORD, Job, Rerun
from ocrd.storage.job_folders import clear
from ocrd.storage.ledger import Entry
from ocrd.storage.naming import access_of
from ocrd.storage.originals import Original
from ocrd.storage.renames import NotAsSeenError
from ocrd.storage.result import Result, keep
from ocrd.storage.safe_paths import beneath
from ocrd.storage.spool import Spool

log = structlog.get_logger("ocrd")

_LIST = "again.json"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be exchanged."""

    endings: tuple[str, ...]
    """Of the files, the sidecar's first."""
    figures: Mapping[str, str]
    """Names that the new figures go out under, by those in the job folder."""
    facts: Mapping[str, Any]
    """For the ledger."""
    original: str
    """Where the original lies."""

    @classmethod
    def of(cls, job: Job) -> "_Plan | None":
        with os_errors.machine_faults("read", job.folder / _LIST):
            try:
                raw = json.loads((job.folder / _LIST).read_bytes())
            except FileNotFoundError:
                return None
        return cls(tuple(raw["endings"]), raw["figures"], raw["facts"], raw["original"])


async def run_rerun(job: Job, watch: Watch, spool: Spool, tools: Tools) -> Outcome:
    """Take a rerun from wherever it is to its end. One that can't be done leaves the sidecar as it was.

    Several of one document come one after the other: of three that exchange a file at the same time, one could put an
    older one back. Raises MachineError (try again later), EngineError, Interrupted. The attempt is then refunded.
    """
    await tools.on_disk(_follow, job, watch)
    await tools.in_flight.turn((watch.outbox, _request(job).sidecar), job.id)
    try:
        return await _run_rerun(job, watch, spool, tools)
    finally:
        tools.in_flight.done(job.id)


async def _run_rerun(job: Job, watch: Watch, spool: Spool, tools: Tools) -> Outcome:
    sidecar = watch.outbox / _request(job).sidecar
    document = None
    try:
        if refusal := job.record.refusal:  # ocrd itself failed on it before
            raise DocumentError(refusal.what, refusal.remedy)  # noqa: TRY301 - told as any other reason
        while (plan := await tools.on_disk(_Plan.of, job)) is None or not await tools.on_disk(
            _exchange, job, plan, watch, spool
        ):
            async with charged(job, tools):
                document = await _prepare(job, watch, tools)
    except DocumentError as error:
        outcome = Outcome("not reread", sidecar, None, reason=str(error))
    else:
        await tools.on_disk(_record, job, plan, watch, spool)
        outcome = Outcome("reread", sidecar, Path(plan.original), document)
        await tools.on_disk(tools.before_end, outcome)
    await tools.on_disk(_forget, job)
    return outcome


def _request(job: Job) -> Rerun:
    if job.record.rerun is None:
        raise AssertionError(job.folder)
    return job.record.rerun


def _follow(job: Job, watch: Watch) -> None:
    """Find out where the sidecar lies if it was moved since its pages were asked for."""
    wanted = _request(job)
    path = watch.outbox / wanted.sidecar
    with os_errors.machine_faults("look at", path):
        is_there = path.exists()
    if not is_there and wanted.sha256:
        place = deliveries.moved_to(watch, wanted.sidecar, job.record.name, wanted.sha256, wanted.pages)
        if place:
            log.info(
                "sidecar was moved", source=shown(job.record.name), job=job.id, sidecar=shown(watch.outbox / place)
            )
            job.update(rerun=replace(wanted, sidecar=place))


async def _prepare(job: Job, watch: Watch, tools: Tools) -> Document:
    """Read the pages, and write the files anew that they stand in. Returns those pages as a document of their own."""
    attempts = earlier_attempts(job, tools)
    delivered = await tools.on_disk(deliveries.look, watch, _request(job).sidecar)
    original = await tools.on_disk(originals.original, watch, delivered.facts, delivered.sidecar)
    if original is None:
        remedy = "Put it back there, and ask again."
        raise await tools.on_disk(originals.missing, watch, delivered.facts, delivered.sidecar, remedy)
    options = await tools.on_disk(_options, delivered, original)
    approach = approach_of(options, tools.engine, f"The facts of {shown(delivered.sidecar)}")
    watch = overrides.applied(options, watch)
    delivered = replace(delivered, watch=watch)
    tools = await opening_for(watch, tools)
    async with _opened(original, job.folder / "original", tools) as source:
        facts = await tools.renderer.open(source)
        document = await _read(job, source, facts, attempts, watch, approach, tools)
        pages, figures = _with_new_names(document.pages, job.id)
        date = document.date.isoformat(timespec="seconds")
        replacement = Replacement(
            pages,
            numbers=await tools.on_disk(deliveries.numbers, delivered),
            total=facts.pages,
            rerun={
                "date": date,
                "pages": [page.index + 1 for page in pages],
                "engine": document.engine,
                "model": document.model,
            },
            stem=Path(delivered.stem).name,
            not_in_pdf=_numbers_in(delivered.facts.get("not_in_pdf")),
        )
        kept_as = {new: kept for kept, new in figures.items()}
        materials = Materials(
            watch.style,
            lambda name: Result(job.folder).figure(kept_as[name]),
            source,
            tools.renderer,
            output_files.streaming(job.folder, tools.on_disk),
        )
        endings, status = await _renew(job, delivered, replacement, materials, tools)
    ledger_facts = {"date": date, "sha256": facts.sha256, "pages": facts.pages, "status": status}
    plan = _Plan(tuple(endings), figures, ledger_facts, str(original.path))
    await tools.on_disk(durable.write_own, job.folder / _LIST, json.dumps(asdict(plan)).encode())
    return document


def _options(delivered: Delivered, original: Original) -> Options:
    """Read what a companion set: as the document tells it, or, if it tells nothing, from beside the original."""
    if "engine" not in delivered.facts and (text := originals.companion_of(original)) is not None:
        return overrides.read({original.path.name + COMPANION: text})
    return overrides.recorded(delivered.facts)


@asynccontextmanager
async def _opened(original: Original, scratch: Path, tools: Tools) -> AsyncIterator[Path]:
    """Open an original, as `originals.opened` does, without a step on a disk in the event loop."""
    stack = ExitStack()
    try:
        yield await tools.on_disk(stack.enter_context, originals.opened(original, scratch))
    finally:
        await tools.on_disk(_close, stack, original)


def _close(stack: ExitStack, original: Original) -> None:
    with os_errors.machine_faults("close", original.path):
        stack.close()


async def _read(  # noqa: PLR0913, PLR0917 - one document's facts and tools
    job: Job, source: Path, facts: SourceFacts, attempts: int, watch: Watch, approach: Approach, tools: Tools
) -> Document:
    """Read the pages that are asked for. Those that fail are logged and left out. Raises DocumentError if all do."""
    wanted = {number - 1 for number in _request(job).pages}
    if max(wanted) >= facts.pages:
        raise DocumentError(
            f"The original has {counted(facts.pages, 'page')}, and no page {max(wanted) + 1}.", "Ask for others."
        )
    read_so = provenance(facts, watch, approach, tools)

    async def keep(page: PageResult, figures: Figures) -> None:
        await tools.on_disk(job.keep_page, page, read_so, figures)

    others = {index: PageResult(index, Verdict.OK, "", None) for index in range(facts.pages) if index not in wanted}
    document = await read_document(
        source,
        job.record.name,
        facts,
        tools,
        attempts=attempts,
        kept=others | await tools.on_disk(job.kept_pages, read_so),
        keep=keep,
        settings=watch.pages,
        separators=watch.sheets,
        illustrate=watch.illustrated,
        approach=approach,
    )
    read = [document.pages[index] for index in sorted(wanted)]
    good = tuple(page for page in read if page.verdict is not Verdict.FAILED)
    if not good:
        raise DocumentError(
            f"Page {read[0].index + 1} could not be read: {read[0].reason}", "The sidecar is as it was."
        )
    for page in read:
        if page not in good:
            log.warning("page left as it was", source=shown(job.record.name), page=page.index + 1, reason=page.reason)
    return replace(document, pages=good)


def _numbers_in(numbers: object) -> list[int]:
    """Read what a sidecar tells, which anybody can have written."""
    return [number for number in numbers if isinstance(number, int)] if isinstance(numbers, list) else []


def _with_new_names(pages: Sequence[PageResult], job_id: str) -> tuple[tuple[PageResult, ...], dict[str, str]]:
    """Give the figures names that were never used: the earlier ones stay, for the sidecar that is kept.

    Returns the pages with these, and the new names by those in the job folder.
    """
    figures = {name: name.replace("-figure-", f"-{job_id}-figure-") for page in pages for name in page.figures if name}
    renamed = (replace(page, figures=tuple(name and figures[name] for name in page.figures)) for page in pages)
    return tuple(renamed), figures


async def _renew(
    job: Job, delivered: Delivered, replacement: Replacement, materials: Materials, tools: Tools
) -> tuple[list[str], str]:
    """Write the delivered files anew. Returns the endings of those to exchange, and the status that the document has.

    Raises DocumentError if one is not what was delivered.
    """
    status = "complete" if all(page.verdict.sound for page in replacement.pages) else "partial"
    endings = []
    for kind in await tools.on_disk(_keep_old, job, delivered):
        old, new = _old_and_new(job, kind.ending)
        try:
            content = await output_files.replace_pages(kind, old, replacement, materials, tools.on_disk)
        except PageError as error:
            event = f"{kind.name} left as it was"
            log.warning(event, source=shown(job.record.name), reason=str(error))
            continue
        if content is None:
            continue
        await tools.on_disk(keep, content, new)
        if isinstance(content, bytes):
            status = deliveries.facts_in(new.name, content).get("status", status)
        endings.append(kind.ending)
    return endings, status


def _keep_old(job: Job, delivered: Delivered) -> list[Kind]:
    """Copy the files that are to change, but for those exchanged before. Returns their kinds, the sidecar's first."""
    durable.make_folders(job.folder / "again", below=job.folder)
    outbox = delivered.watch.outbox
    sidecar = [kind for kind in kinds.ALL if kind.ending == delivered.ending]
    beside = [kind for kind in reversed(kinds.named(delivered.watch.outputs)) if kind not in sidecar]
    kept = []
    for kind in sidecar + beside:
        name = delivered.stem + kind.ending
        with os_errors.machine_faults("look at", outbox / name):
            wanted = _done(kind.ending) not in job.record.names and (outbox / name).is_file()
        if wanted:
            deliveries.copy(outbox, name, _old_and_new(job, kind.ending)[0])
            kept.append(kind)
    return kept


def _old_and_new(job: Job, ending: str) -> tuple[Path, Path]:
    """Say where a delivered file is kept as it was, and where it is written anew."""
    return job.folder / "again" / f"old{ending}", job.folder / "again" / f"new{ending}"


def _exchange(job: Job, plan: _Plan, watch: Watch, spool: Spool) -> bool:
    """Bring what is planned into the outbox. Returns False if a file is no longer the one that the plan is made for."""
    spool.check_mount(watch.outbox)
    stem = str(Path(_request(job).sidecar).with_suffix(""))
    for plain, own in plan.figures.items():
        _put_figure(job, watch, job.folder / "figures" / plain, f"{stem}{ASSETS}/{own}")
    for ending in plan.endings:
        if _done(ending) in job.record.names:
            continue
        role, name = f"bak{ending}", stem + ending
        old, new = _old_and_new(job, ending)
        if comparing.same_file(old, new):
            continue  # as a text in which the page reads as before: there is nothing to keep or to exchange
        kept = _keep_as_bak(job, watch, old, name, role)
        try:
            with (
                os_errors.machine_faults("reach", watch.outbox / name),
                durable.sharing(access_of(watch)),
                beneath(watch.outbox, name) as target,
            ):
                durable.replace_seen(new, target, old, tag=job.id)
        except NotAsSeenError:
            job.update(names={role: name for role, name in job.record.names.items() if role.startswith("done")})
            durable.remove(job.folder / _LIST)
            return False
        job.name_for(_done(ending), str(kept.relative_to(watch.outbox)))
    _remove_old_crops(watch, stem, _request(job).pages, plan)
    return True


def _keep_as_bak(job: Job, watch: Watch, old: Path, name: str, role: str) -> Path:
    """Keep a file of the outbox as it was, as NAME.bak; one that holds the same already is enough.

    It is never taken back: another rerun may have found it to be enough.
    """
    recorded = job.record.names.get(role)
    if recorded is None:
        for bak in leftovers.baks(watch.outbox, name):
            if comparing.same_file(old, bak):
                return bak
    return _put(job, watch, old, f"{name}.bak", role, recorded)


def _remove_old_crops(watch: Watch, stem: str, pages: Sequence[int], plan: _Plan) -> None:
    """Delete the pictures of earlier readings of these pages that no file beside them shows any more."""
    for crop in leftovers.unshown_crops(watch.outbox, stem):
        if leftovers.page_of_crop(crop) in pages and Path(crop).name not in plan.figures.values():
            with os_errors.machine_faults("reach", watch.outbox / crop), beneath(watch.outbox, crop) as path:
                durable.remove(path)


def _put_figure(job: Job, watch: Watch, file: Path, name: str) -> None:
    """Put a figure where its links lead. Raises MachineError, also where something else lies there."""

    def put(path: Path) -> None:
        try:
            durable.copy_new(file, path, tag=job.id)
        except FileExistsError:
            if not comparing.same_file(file, path):
                what = f"{shown(watch.outbox / name)} is the place of a picture."
                raise MachineError(what, "Move away what lies there.") from None

    naming.place(
        watch.outbox,
        name,
        put,
        is_ours=lambda _: False,  # what is ours was found by `put`
        recorded=name,
        record=lambda _: None,
        access=access_of(watch),
    )


def _put(  # noqa: PLR0913, PLR0917 - what, where, and the memory of the name
    job: Job, watch: Watch, file: Path, wanted: str, role: str, recorded: str | None
) -> Path:
    return naming.place(
        watch.outbox,
        wanted,
        lambda path: durable.copy_new(file, path, tag=job.id),
        is_ours=lambda path: comparing.same_file(file, path),
        recorded=recorded,
        record=lambda name: job.name_for(role, name),
        access=access_of(watch),
    )


def _done(ending: str) -> str:
    """Name the role under which it is recorded that a file was exchanged."""
    return f"done{ending}"


def _record(job: Job, plan: _Plan, watch: Watch, spool: Spool) -> None:
    """Enter the rerun in the ledger."""
    if watch.keeps_ledger:
        entry = Entry(job.id, source=job.record.name, kind="reread", sidecar=_request(job).sidecar, **plan.facts)
        spool.ledger.record(entry)


def _forget(job: Job) -> None:
    """End the job: without its record, what is left of it goes at the next start."""
    durable.remove(job.folder / RECORD)
    with suppress(MachineError):
        clear(job.folder)
