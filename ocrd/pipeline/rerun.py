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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from ocrd.concurrency.threads import finish_in_thread
from ocrd.config import overrides
from ocrd.config.schema import Watch
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError, PageError
from ocrd.model import Approach, Document, PageResult, SourceFacts, Verdict
from ocrd.output import kinds
from ocrd.output.result_names import ASSETS
from ocrd.pipeline import page_replacement
from ocrd.pipeline.attempts import charged, earlier_attempts
from ocrd.pipeline.document import Figures, Tools, approach_of, provenance, read_document
from ocrd.pipeline.job_runner import Outcome
from ocrd.storage import deliveries, durable, naming, os_errors
from ocrd.storage.deliveries import Delivered
from ocrd.storage.durable import NotAsSeenError
from ocrd.storage.job import RECORD, Job, Rerun
from ocrd.storage.ledger import Entry, Ledger
from ocrd.storage.safe_paths import beneath
from ocrd.storage.spool import Spool, clear

log = structlog.get_logger("ocrd")

_LIST = "again.json"
_WANTED = {".md": "markdown", ".json": "json", ".txt": "text", ".pdf": "pdf"}


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
        try:
            raw = json.loads((job.folder / _LIST).read_bytes())
        except FileNotFoundError:
            return None
        return cls(tuple(raw["endings"]), raw["figures"], raw["facts"], raw["original"])


async def run_rerun(job: Job, watch: Watch, spool: Spool, tools: Tools) -> Outcome:
    """Take a rerun from wherever it is to its end. One that can't be done leaves the sidecar as it was.

    Raises MachineError (try again later), EngineError, Interrupted. The attempt is then refunded.
    """
    sidecar = watch.outbox / _asked(job).sidecar
    document = None
    try:
        while (plan := await finish_in_thread(_Plan.of, job)) is None or not await finish_in_thread(
            _exchange, job, plan, watch, spool
        ):
            async with charged(job):
                document = await _prepare(job, watch, tools)
    except DocumentError as error:
        outcome = Outcome("not reread", sidecar, None, reason=str(error))
    else:
        await finish_in_thread(_record, job, plan, watch)
        outcome = Outcome("reread", sidecar, Path(plan.original), document)
    await finish_in_thread(_forget, job)
    return outcome


def _asked(job: Job) -> Rerun:
    if job.record.rerun is None:
        raise AssertionError(job.folder)
    return job.record.rerun


async def _prepare(job: Job, watch: Watch, tools: Tools) -> Document:
    """Read the pages, and write the files anew that they stand in. Returns those pages as a document of their own."""
    attempts = earlier_attempts(job, tools)
    known = await finish_in_thread(deliveries.look, watch, _asked(job).sidecar)
    options = overrides.told(known.facts)
    approach = approach_of(options, tools.engine, f"The facts of {shown(known.sidecar)}")
    watch = overrides.applied(options, watch)
    known = replace(known, watch=watch)
    original = await finish_in_thread(deliveries.original, watch, known.facts, known.sidecar)
    if original is None:
        raise DocumentError(
            f"The original of {shown(known.sidecar)} is neither in {shown(watch.archive)} nor in {shown(watch.error)}.",
            "Put it back there, and ask again.",
        )
    with deliveries.held_open(original, job.folder / "original") as held:
        facts = await tools.renderer.open(held)
        document = await _read(job, held, facts, attempts, watch, approach, tools)
        pages = _named_anew(document.pages, job.id)
        told = {
            "date": document.date.isoformat(timespec="seconds"),
            "pages": [page.index + 1 for page in pages],
            "engine": document.engine,
            "model": document.model,
        }
        numbers = await finish_in_thread(deliveries.numbers, known)
        endings = await finish_in_thread(_keep_old, job, known)
        if ".pdf" in endings and not await _renew_pdf(job, held, facts, pages, numbers, tools):
            endings.remove(".pdf")
    status = await finish_in_thread(_renew, job, known, endings, pages, numbers, told)
    figures = {
        plain: own
        for before, after in zip(document.pages, pages, strict=True)
        for plain, own in zip(before.figures, after.figures, strict=True)
        if plain
    }
    kept = {"date": told["date"], "sha256": facts.sha256, "pages": facts.pages, "status": status}
    plan = {"endings": endings, "figures": figures, "facts": kept, "original": str(original.path)}
    await finish_in_thread(durable.write_own, job.folder / _LIST, json.dumps(plan).encode())
    return document


async def _read(  # noqa: PLR0913, PLR0917 - one document's facts and tools
    job: Job, path: Path, facts: SourceFacts, attempts: int, watch: Watch, approach: Approach, tools: Tools
) -> Document:
    """Read the pages that are asked for. Those that fail are told and left out. Raises DocumentError if all do."""
    wanted = {number - 1 for number in _asked(job).pages}
    if max(wanted) >= facts.pages:
        raise DocumentError(
            f"The original has {facts.pages} page(s), and no page {max(wanted) + 1}.", "Ask for others."
        )
    read_so = provenance(facts, watch, approach, tools)

    async def keep(page: PageResult, figures: Figures) -> None:
        await finish_in_thread(job.keep_page, page, read_so, figures)

    others = {index: PageResult(index, Verdict.OK, "", None) for index in range(facts.pages) if index not in wanted}
    document = await read_document(
        path,
        job.record.name,
        facts,
        tools,
        attempts=attempts,
        kept=others | await finish_in_thread(job.kept_pages, read_so),
        keep=keep,
        settings=watch.pages,
        separators=watch.sheets,
        illustrate=kinds.with_figures(watch),
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


def _named_anew(pages: Sequence[PageResult], job: str) -> tuple[PageResult, ...]:
    """Give the figures names that were never used: the earlier ones stay, for the sidecar that is kept."""
    return tuple(
        replace(page, figures=tuple(name and name.replace("-figure-", f"-{job}-figure-") for name in page.figures))
        for page in pages
    )


def _keep_old(job: Job, known: Delivered) -> list[str]:
    """Copy the files that are to change, but for those that were exchanged before. Returns their endings."""
    folder = job.folder / "again"
    durable.make_folders(folder, below=job.folder)
    first = Path(known.sidecar).suffix
    endings = []
    for ending in (first, *(ending for ending in _WANTED if ending != first)):
        name = known.stem + ending
        wanted = ending == first or _WANTED[ending] in known.watch.outputs
        if wanted and _done(ending) not in job.record.names and (known.watch.outbox / name).is_file():
            durable.write_own(folder / f"old{ending}", deliveries.read(known.watch.outbox, name))
            endings.append(ending)
    return endings


async def _renew_pdf(  # noqa: PLR0913, PLR0917 - one document's facts and tools
    job: Job, path: Path, facts: SourceFacts, pages: Sequence[PageResult], numbers: Sequence[int], tools: Tools
) -> bool:
    read = {page.index: page for page in pages}
    every = [read.get(index) or PageResult(index, Verdict.OK, "", None) for index in range(facts.pages)]
    places = {index: numbers.index(index + 1) for index in sorted(read) if index + 1 in numbers}
    old = job.folder / "again" / "old.pdf"
    try:
        data = await tools.renderer.exchange_searchable(path, old, every, places, len(numbers))
    except PageError as error:
        log.warning("pdf left as it was", source=shown(job.record.name), reason=str(error))
        return False
    await finish_in_thread(durable.write_own, job.folder / "again" / "new.pdf", data)
    return True


def _renew(  # noqa: PLR0913, PLR0917 - what is to be told, and where
    job: Job,
    known: Delivered,
    endings: Sequence[str],
    pages: Sequence[PageResult],
    numbers: Sequence[int],
    told: Mapping[str, object],
) -> str:
    """Write the files that are text anew. Returns the status that the sidecar tells now."""
    status = "complete" if all(page.verdict.sound for page in pages) else "partial"
    style = kinds.style_of(known.watch)
    folder = job.folder / "again"
    for ending in endings:
        if ending == ".pdf":
            continue
        try:
            old = (folder / f"old{ending}").read_bytes().decode()
        except UnicodeDecodeError as error:
            raise DocumentError(f"{shown(known.stem)}{ending} is not UTF-8: {error}.", "Save it as UTF-8.") from error
        match ending:
            case ".md":
                new = page_replacement.in_markdown(old, pages, style, told, Path(known.stem).name)
            case ".json":
                new = page_replacement.in_json(old, pages, told)
            case _:
                new = page_replacement.in_text(old, pages, numbers, style)
        durable.write_own(folder / f"new{ending}", new.encode())
        status = deliveries.facts_in(ending, new.encode()).get("status", status)
    return status


def _exchange(job: Job, plan: _Plan, watch: Watch, spool: Spool) -> bool:
    """Bring what is planned into the outbox. Returns False if a file is no longer the one that the plan is made for."""
    spool.check_mount(watch.outbox)
    stem = _asked(job).sidecar.removesuffix(Path(_asked(job).sidecar).suffix)
    for plain, own in plan.figures.items():
        _put(job, watch, job.folder / "figures" / plain, f"{stem}{ASSETS}/{own}", "figure", f"{stem}{ASSETS}/{own}")
    for ending in plan.endings:
        if _done(ending) in job.record.names:
            continue
        role, name = f"bak{ending}", stem + ending
        old, new = (job.folder / "again" / f"{which}{ending}" for which in ("old", "new"))
        kept = _put(job, watch, old, f"{name}.bak", role, job.record.names.get(role))
        try:
            with (
                os_errors.machine_faults("reach", watch.outbox / name),
                durable.sharing(watch.access),
                beneath(watch.outbox, name) as target,
            ):
                durable.replace_seen(new, target, old, tag=job.id)
        except NotAsSeenError:
            job.update(names={role: name for role, name in job.record.names.items() if role.startswith("done")})
            durable.remove(job.folder / _LIST)
            return False
        job.name_for(_done(ending), str(kept.relative_to(watch.outbox)))
    return True


def _put(  # noqa: PLR0913, PLR0917 - what, where, and the memory of the name
    job: Job, watch: Watch, file: Path, wanted: str, role: str, recorded: str | None
) -> Path:
    return naming.place(
        watch.outbox,
        wanted,
        lambda path: durable.copy_new(file, path, tag=job.id),
        is_ours=lambda path: durable.same_file(file, path),
        recorded=recorded,
        record=lambda name: job.name_for(role, name),
        access=watch.access,
    )


def _done(ending: str) -> str:
    """Name the role under which it is recorded that a file was exchanged."""
    return f"done{ending}"


def _record(job: Job, plan: _Plan, watch: Watch) -> None:
    """Tell the ledger."""
    if watch.history or watch.duplicates != "process":
        entry = Entry(job.id, source=job.record.name, kind="reread", sidecar=_asked(job).sidecar, **plan.facts)
        Ledger(watch.work_folder, watch.outbox).record(entry)


def _forget(job: Job) -> None:
    """End the job: without its record, what is left of it goes at the next start."""
    durable.remove(job.folder / RECORD)
    with suppress(MachineError):
        clear(job.folder)
