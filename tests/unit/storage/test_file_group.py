"""The files of a group are claimed, archived, refused and given back together, or not at all."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from group_house import FOLDER, SEQUENCE, House

from ocrd.commands import retry
from ocrd.errors import MachineError
from ocrd.model import Group
from ocrd.storage import claiming, durable, file_group
from ocrd.storage.durable import move_new
from ocrd.storage.job import JobRecord

GROUPS = [SEQUENCE, FOLDER]


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> House:
    names = getattr(request, "param", SEQUENCE)
    house = House(tmp_path, join="subfolder" if names is FOLDER else "sequence")
    house.put(*names)
    return house


def names_of(house: House) -> tuple[str, ...]:
    return FOLDER if house.watch.join == "subfolder" else SEQUENCE


both = pytest.mark.parametrize("house", GROUPS, indirect=True, ids=["sequence", "folder"])


@both
def test_a_group_is_one_document_that_lists_its_files(house: House) -> None:
    names = names_of(house)
    job = house.claim()
    assert house.lie("inbox") == []
    outcome = house.run(job)
    assert house.lie("archive") == sorted(names)
    assert house.lie("outbox") == ["s/a.md" if names is SEQUENCE else "v 1.5.md"]
    assert "".join(f"- {name}\n" for name in names) in outcome.path.read_text()
    assert outcome.original == house.root / "archive" / ("s/a-1.jpg" if names is SEQUENCE else "v 1.5")
    assert house.lie("work") == []


@both
def test_a_name_that_is_taken_gives_all_files_another(house: House) -> None:
    names = names_of(house)
    house.put(names[1], role="archive", data=b"a stranger's")
    house.run(house.claim())
    other = [name.replace("s/a", "s/a (2)").replace("1.5", "1.5 (2)") for name in names]
    assert house.lie("archive") == sorted([*other, names[1]])


@both
def test_a_bad_group_is_refused_as_one_and_comes_back_as_one(house: House) -> None:
    names = names_of(house)
    house.put(names[2], data=b"bad")
    outcome = house.run(house.claim())
    note = "s/a.error.md" if names is SEQUENCE else "v 1.5.error.md"
    assert outcome.kind == "refused"
    assert house.lie("error") == sorted([*names, note])
    for name in (names[1], note.removesuffix(".error.md")):  # a group is named by itself or by one of its files
        (back,) = retry.bring_back([house.watch], [Path(name)])
        assert back.relative_to(house.watch.inbox) == Path(note.removesuffix(".error.md"))
        assert house.lie("inbox") == sorted(names)
        house.run(house.claim())
        assert house.lie("error") == sorted([*names, note]), "refused again under its own name"
    (house.root / "error" / names[2]).write_bytes(b"good")
    list(retry.bring_back([house.watch], None))
    assert house.run(house.claim()).kind == "delivered"
    assert house.lie("error") == []


@both
@pytest.mark.parametrize("change", ["changed", "gone", "a link"])
def test_a_member_that_changed_since_it_settled_holds_all(house: House, change: str) -> None:
    (settled,) = house.settled()
    path = house.root / "inbox" / names_of(house)[1]
    path.unlink()
    if change == "changed":
        path.write_bytes(b"another")
    if change == "a link":
        path.symlink_to("/etc/passwd")
    assert house.spool.claim(settled) is None
    assert house.lie("inbox") == sorted(set(names_of(house)) - ({names_of(house)[1]} if change == "gone" else set()))
    assert house.lie("work") == []


@both
def test_a_member_that_goes_during_the_claim_gives_back_those_that_were_taken(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settled,) = house.settled()
    last = house.root / "inbox" / names_of(house)[2]

    def move(source: Path, target: Path, *, tag: str) -> None:
        last.unlink(missing_ok=True)
        move_new(source, target, tag=tag)

    monkeypatch.setattr(claiming, "take", move)
    assert house.spool.claim(settled) is None
    assert house.lie("inbox") == sorted(names_of(house)[:2])
    assert house.lie("work") == []


@both
def test_a_claim_that_breaks_off_and_cannot_be_undone_is_undone_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settled,) = house.settled()
    moved = []

    def move(source: Path, target: Path, *, tag: str) -> None:
        if moved:
            raise MachineError("The share is gone.", "Mount it.")
        moved.append(source)
        move_new(source, target, tag=tag)

    with monkeypatch.context() as context:
        context.setattr(claiming, "take", move)
        context.setattr(durable, "move_new", move)
        with pytest.raises(MachineError, match="The share is gone"):
            house.spool.claim(settled)
        assert house.spool.begun
        with pytest.raises(MachineError, match="The share is gone"):
            house.spool.claim(settled)
    (smaller,) = house.settled()
    assert house.spool.claim(smaller) is None, "what it saw in the inbox is not all there is"
    assert not house.spool.begun
    assert house.settled() == [settled], "all files are back, in their places"


@both
def test_what_is_given_back_goes_together_where_its_name_was_taken(house: House) -> None:
    job = house.claim()
    house.put(names_of(house)[0], data=b"a stranger's")
    house.spool.give_back(job)
    other = [name.replace("s/a", "s/a (2)").replace("1.5", "1.5 (2)") for name in names_of(house)]
    assert house.lie("inbox") == sorted([*other, names_of(house)[0]])


@both
def test_a_group_without_its_record_goes_to_the_error_folder(house: House) -> None:
    job = house.claim()
    (job.folder / "job.json").write_text("damaged")
    (found,) = house.spool.recover()
    assert house.run(found).kind == "refused"
    names = [f"{job.id}/{Path(name).name}" for name in names_of(house)]
    assert house.lie("error") == sorted([*names, f"{job.id}.error.md"])


@both
def test_a_claim_that_died_while_its_first_file_was_copied_leaves_nothing(house: House) -> None:
    job = house.claim()
    for ending, path in job.files.items():
        path.rename(Path(f"{house.root}/inbox/{job.record.name}{ending}"))
    (job.source / f".ocrd-{job.id}.tmp").write_bytes(b"half")
    assert list(house.spool.recover()) == []
    assert house.lie("work") == []
    assert house.lie("inbox") == sorted(names_of(house))


@both
def test_a_duplicate_whose_archiving_broke_off_is_not_read(house: House) -> None:
    job = house.claim()
    job.name_for("archive", job.record.name)
    ending, first = next(iter(job.files.items()))
    target = Path(f"{house.root}/archive/{job.record.name}{ending}")
    target.parent.mkdir(exist_ok=True)
    first.rename(target)
    (found,) = house.spool.recover()
    assert house.run(found).kind == "skipped"
    assert house.lie("archive") == sorted(names_of(house))
    assert house.lie("outbox") == []


def test_a_record_from_before_there_were_groups_is_understood(house: House) -> None:
    stamp = next(iter(house.claim().record.members.values()))
    old = {key: value for key, value in asdict(JobRecord("w", "a.pdf", stamp)).items() if key != "members"}
    assert JobRecord.parse(json.dumps(old).encode()) == JobRecord("w", "a.pdf", stamp)


def test_a_record_is_read_back_in_the_order_of_the_pages(house: House) -> None:
    record = house.claim().record
    again = JobRecord.parse(json.dumps(asdict(record)).encode())
    assert again == record
    assert list(again.members) == ["-1.jpg", "-2.jpg", "-10.jpg"]


def test_no_link_in_the_archive_leads_a_group_elsewhere(tmp_path: Path) -> None:
    house = House(tmp_path, join="subfolder")
    house.put(*FOLDER)
    job = house.claim()
    job.name_for("archive", "v 1.5")  # recorded, and then somebody put a link there
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "archive/v 1.5").symlink_to(tmp_path / "elsewhere")
    house.spool.archive(job, house.watch.archive)
    assert house.lie("archive") == sorted(name.replace("1.5", "1.5 (2)") for name in FOLDER)
    assert house.lie("elsewhere") == []


def test_a_strangers_file_is_not_taken_back_for_one_of_ours(house: House) -> None:
    (settled,) = house.settled()
    assert isinstance(settled.stamp, Group)
    house.put("a-1.jpg", role="archive", data=b"another, in our place")
    house.put("a-10.jpg", role="archive", data=b"a stranger's")
    files = {ending: house.root / f"inbox/s/a{ending}" for ending in settled.stamp.members}
    files["-1.jpg"].unlink()  # moved, and collected there
    with pytest.raises(FileExistsError):
        file_group.put_all(files, settled.stamp.members, house.root / "archive/a", tag="t")
    assert house.lie("archive") == ["a-1.jpg", "a-10.jpg"]
    assert house.lie("inbox") == sorted(SEQUENCE[1:])
