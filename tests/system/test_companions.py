"""A companion sets prompt, outputs and languages of its scan, goes where it goes, and is not believed blindly."""

import asyncio
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from group_house import House
from simulated import SimulatedEngine
from spool_house import InstantRenderer

from ocrd.commands import retry
from ocrd.concurrency.fair_window import Window
from ocrd.concurrency.threads import Threads
from ocrd.config import overrides, schema
from ocrd.config.overrides import MOST
from ocrd.config.vllm import VllmSettings
from ocrd.config.watch import Options, Watch
from ocrd.engines.base import Engine
from ocrd.engines.cpu.engine import CpuEngine
from ocrd.engines.instrumented import InstrumentedEngine
from ocrd.engines.vllm.engine import VllmEngine
from ocrd.errors import DocumentError
from ocrd.intake.inbox import Inbox
from ocrd.intake.scanner import scan
from ocrd.intake.settling import SettleTracker
from ocrd.model import Approach, Settled, SourceFacts
from ocrd.output import front_matter, markdown
from ocrd.pipeline.document import Tools, approach_of, provenance
from ocrd.pipeline.job_runner import run_job
from ocrd.pipeline.outcome import Outcome
from ocrd.storage.job import Job, JobRecord

SCAN, OWN = "s/a.pdf", "s/a.pdf.ocrd.yaml"


class TellingEngine(SimulatedEngine):
    """Takes any prompt, and the language that it knows."""

    def accept(self, approach: Approach) -> None:
        if approach.languages not in (None, ("deu",)):
            raise DocumentError(f"No {approach.languages} here.", "Take deu.")


def drop(house: House, text: str | bytes, own: str = OWN) -> None:
    house.put(SCAN)
    house.put(own, data=text.encode() if isinstance(text, str) else text)


def run(house: House, job: Job, engine: Engine | None = None) -> Outcome:
    tools = Tools(engine or TellingEngine(), InstantRenderer(), Window(4))  # type: ignore[arg-type]
    return asyncio.run(run_job(job, house.watch, house.spool, tools))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_companion_sets_what_its_scan_is_read_by_and_goes_with_it(house: House) -> None:
    drop(house, 'prompt: "<image>\\nFree OCR."\nlanguages: [deu]\noutputs: [json, markdown]\n')
    engine = TellingEngine()
    job = house.claim()
    assert house.lie("inbox") == []
    run(house, job, engine)
    assert house.lie("archive") == [SCAN, OWN]
    assert house.lie("outbox") == ["s/a.json", "s/a.md"]
    assert house.lie("work") == []
    assert set(engine.approaches) == {Approach(prompt="<image>\nFree OCR.", languages=("deu",))}
    told = {"prompt": "<image>\nFree OCR.", "outputs": ["json", "markdown"], "languages": ["deu"]}
    facts = front_matter.facts_of((house.root / "outbox/s/a.md").read_bytes())
    assert facts is not None
    assert facts["settings"] == told
    assert json.loads((house.root / "outbox/s/a.json").read_text())["settings"] == told


def test_a_rerun_finds_the_settings_and_keeps_them(house: House) -> None:
    drop(house, "languages: [deu]\n")
    run(house, house.claim())
    sidecar = (house.root / "outbox/s/a.md").read_text()
    options = overrides.recorded(front_matter.facts_of(sidecar.encode()) or {})
    assert overrides.approach(options) == Approach(languages=("deu",))
    new = markdown.replace_pages(sidecar, [], markdown.Style(), {"date": "2026-01-01T00:00:00+00:00"}, "a")
    assert overrides.recorded(front_matter.facts_of(new.encode()) or {}) == options


def test_facts_that_somebody_wrote_are_checked_like_a_companion() -> None:
    with pytest.raises(DocumentError, match=re.escape("settings.lnguages: unknown key; did you mean 'languages'?")):
        overrides.recorded({"settings": {"lnguages": ["deu"]}})
    assert overrides.recorded({}) == Options()


def test_a_folder_sets_it_for_all_in_it_and_stays_and_the_scans_own_goes_first(house: House) -> None:
    house.put("s/.ocrd.yaml", data=b"outputs: [text]\nlanguages: [deu]\n")
    house.put("s/deeper/b.pdf", "b.pdf")
    drop(house, "outputs: [json]\n")
    engine = TellingEngine()
    for settled in house.settled():
        job = house.spool.claim(settled)
        assert job
        run(house, job, engine)
    assert house.lie("outbox") == ["b.md", "s/a.json", "s/deeper/b.md"]
    assert house.lie("inbox") == ["s/.ocrd.yaml"]
    assert {one.languages for one in engine.approaches} == {("deu",), None}


def test_what_counts_is_what_stood_there_at_the_claim(house: House) -> None:
    house.put("s/.ocrd.yaml", data=b"outputs: [text]\n")
    house.put(SCAN)
    house.claim()
    house.put("s/.ocrd.yaml", data=b"outputs: [json]\n")
    (job,) = house.spool.recover()
    run(house, job)
    assert house.lie("outbox") == ["s/a.txt"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("outputs: [markdown]\nlanguage: [deu]\n", "line 2: language: unknown key; did you mean 'languages'?"),
        (
            "outputs: [doc]\n",
            "line 1: outputs.0: input should be 'markdown', 'json', 'text', 'html' or 'pdf', not 'doc'",
        ),
        ("outputs: [text, text]\n", "line 1: outputs: must name each one once"),
        ("outputs:\n", None),
        ("languages: deu\n", "line 1: languages: must be a list, not 'deu'"),
        ("prompt: read it\n", "line 1: prompt: "),
        ("prompt: <image><image>\n", "line 1: prompt: "),
        ("languages: [deu]\nlanguages: [eng]\n", "line 2: languages: the key 'languages' stands twice"),
        ("a: [", "is not valid YAML"),
        ("- 1\n", "line 1: (the file): "),
        ("[" * 9000, "nest"),
        ("&a [*a]", "repeats a part of itself"),
        ("a: &a [1,1]\nb: [*a, *a]\n", "repeats a part of itself"),
        ("? [1]\n: 2\n", "is not valid YAML"),
        ("languages: [2026-99-99]\n", "does not fit its tag"),
        ("!!python/object/apply:os.system [true]", "is not valid YAML"),
        (b"languages: [\xff]\n", "is not UTF-8"),
        ("#" * (MOST + 1), f"has more than {MOST} bytes"),
        ("a\0b", "is not valid YAML"),
        ("languages: [xyz]\n", "No ('xyz',) here."),
        (f"languages: {{{'x' * 900}: 1}}\n", "line 1: languages: "),
    ],
)
def test_a_wrong_one_refuses_the_scan_and_both_come_back(house: House, text: str | bytes, what: str | None) -> None:
    drop(house, text)
    outcome = run(house, house.claim())
    if what is None:
        assert outcome.kind == "delivered"
        return
    assert outcome.kind == "refused"
    assert what in outcome.reason
    assert len(outcome.reason) < 1000
    assert OWN in outcome.reason
    assert house.lie("error") == [SCAN, f"{SCAN}.error.md", OWN]
    (house.root / "error" / OWN).write_text("languages: [deu]\n")
    assert list(retry.bring_back([house.watch], [Path("a.pdf")])) == [house.root / "inbox" / SCAN]
    assert house.lie("inbox") == [SCAN, OWN]
    assert run(house, house.claim()).kind == "delivered"
    assert house.lie("error") == []
    assert house.lie("archive") == [SCAN, OWN]


def test_a_folders_file_that_is_a_link_is_not_followed(house: House) -> None:
    house.put(SCAN)
    house.put("elsewhere", role="work", data=b"outputs: [text]\n")
    (house.root / "inbox/s/.ocrd.yaml").symlink_to(house.root / "work/elsewhere")
    outcome = run(house, house.claim())
    assert (outcome.kind, "s/.ocrd.yaml can't be read" in outcome.reason) == ("refused", True)


def test_a_companion_that_is_a_link_is_left_alone(house: House) -> None:
    house.put(SCAN)
    (house.root / "inbox" / OWN).symlink_to("/etc/passwd")
    found = scan(house.watch.inbox)
    assert (found.companions, list(found.odd.values())) == ({}, ["a symbolic link"])


@pytest.mark.parametrize("taken", [SCAN, OWN])
@pytest.mark.parametrize("role", ["archive", "error", "inbox"])
def test_they_keep_together_where_a_name_is_taken(house: House, role: str, taken: str) -> None:
    drop(house, "outputs: [text]\n" if role == "archive" else "wrong")
    house.put(taken, role=role if role != "inbox" else "error", data=b"a stranger's")
    job = house.claim()
    if role == "inbox":
        house.put(taken, data=b"a stranger's")
        house.spool.give_back(job)
    else:
        run(house, job)
    mine = ["s/a (2).pdf", "s/a (2).pdf.ocrd.yaml"]
    lying = [name for name in house.lie(role) if not name.endswith(".error.md")]
    assert lying == sorted([*mine, taken])


def test_one_that_changes_begins_the_quiet_time_anew(house: House) -> None:
    house.put(SCAN)
    tracker = SettleTracker(3.0)
    tracker.observe(dict(one for one in map(_unit, house.settled())), 0.0)
    house.put(OWN, data=b"outputs: [text]\n")
    assert tracker.observe(dict(map(_unit, house.settled())), 3.0) == []
    (settled,) = tracker.observe(dict(map(_unit, house.settled())), 6.0)
    assert [path.name for path in settled.files] == ["a.pdf", "a.pdf.ocrd.yaml"]
    assert [path.name for path in settled.sources] == ["a.pdf"]


def _unit(settled: Settled) -> tuple[Path, object]:
    return settled.path, settled.stamp


def test_one_without_its_scan_stays_and_is_told(house: House) -> None:
    drop(house, "outputs: [text]\n", "s/b.pdf.ocrd.yaml")
    inbox = Inbox(house.watch, schema.Settle(quiet="0s"), asyncio.Event(), Threads().run, once=True)  # type: ignore[arg-type]
    (settled,) = asyncio.run(inbox.look())
    assert list(settled.files) == [house.root / "inbox" / SCAN]
    assert inbox._odd == {house.root / "inbox/s/b.pdf.ocrd.yaml"}


@pytest.mark.parametrize("join", ["subfolder", "sequence"])
def test_images_that_become_one_document_have_one_companion(tmp_path: Path, join: str) -> None:
    house = House(tmp_path, join=join)
    names = ["f/1.jpg", "f/2.jpg"] if join == "subfolder" else ["f-1.jpg", "f-2.jpg"]
    house.put(*names)
    house.put("f.ocrd.yaml", data=b"outputs: [text]\n")
    house.run(house.claim())
    assert house.lie("archive") == sorted(["f.ocrd.yaml", *names])
    assert house.lie("outbox") == ["f.txt"]


def test_the_folders_own_file_counts_for_the_document_that_the_folder_becomes(tmp_path: Path) -> None:
    house = House(tmp_path, join="subfolder")
    house.put("f/1.jpg", "f/2.jpg")
    house.put("f/.ocrd.yaml", data=b"outputs: [text]\n")
    house.run(house.claim())
    assert house.lie("inbox") == ["f/.ocrd.yaml"]
    assert house.lie("outbox") == ["f.txt"]


@pytest.mark.parametrize("left", ["both", "the companion"])
def test_a_job_without_its_record_loses_neither(house: House, left: str) -> None:
    drop(house, "outputs: [text]\n")
    job = house.claim()
    (job.folder / "job.json").write_text("damaged")
    if left == "the companion":
        job.source.unlink()
    (found,) = house.spool.recover()
    assert run(house, found).kind == "refused"
    both = [f"{job.id}.pdf", f"{job.id}.pdf.error.md", f"{job.id}.pdf.ocrd.yaml"]
    assert house.lie("error") == (both if left == "both" else [f"{job.id}.yaml", f"{job.id}.yaml.error.md"])


def test_a_record_is_read_back_with_what_is_no_utf_8(house: House) -> None:
    drop(house, b"\xff")
    record = house.claim().record
    assert JobRecord.parse(json.dumps(asdict(record)).encode()) == record


def test_what_was_read_by_other_settings_is_read_again() -> None:
    facts, tools = SourceFacts("pdf", 1, "hash"), Tools(TellingEngine(), None, None)  # type: ignore[arg-type]
    ways = [Approach(), Approach(languages=("deu",)), Approach(prompt="<image>")]
    assert len({provenance(facts, Watch.model_construct(), way, tools) for way in ways}) == len(ways)


def test_each_engine_says_what_it_can_be_told() -> None:
    vllm = VllmEngine(VllmSettings())
    vllm.accept(Approach(prompt="<image>"))
    with pytest.raises(DocumentError, match="can't be told deu"):
        vllm.accept(Approach(languages=("deu",)))
    cpu = CpuEngine(("eng",))
    cpu.accept(Approach(languages=("eng",)))
    with pytest.raises(DocumentError, match="takes no prompt"):
        cpu.accept(Approach(prompt="<image>"))
    for language in ("xyz", "../../etc/passwd"):
        with pytest.raises(DocumentError, match="in the scan's settings can't be read"):
            cpu.accept(Approach(languages=(language,)))
    with pytest.raises(DocumentError, match="takes neither prompt nor languages"):
        approach_of(Options(languages=("deu",)), InstrumentedEngine(SimulatedEngine()), "f")
    assert approach_of(Options(languages=("deu",)), InstrumentedEngine(TellingEngine()), "f").languages == ("deu",)


def test_a_second_reading_keeps_what_the_scan_wants() -> None:
    wanted = Approach(prompt="<image>", languages=("deu",))
    assert Approach(temperature=0.5).or_else(wanted) == Approach("<image>", 0.5, languages=("deu",))
    assert Approach(prompt="other").or_else(wanted).prompt == "other"


def test_an_option_is_what_the_setting_of_the_watch_is() -> None:
    assert Options.model_fields["outputs"].description
    good = [("markdown",), ("json", "html")]
    assert [overrides.applied(Options(outputs=one), Watch.model_construct()).outputs for one in good] == good
