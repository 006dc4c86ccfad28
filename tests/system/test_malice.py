"""Nobody who can drop a file can make ocrd touch what lies outside its folders, or hold it up."""

import os
import stat
from pathlib import Path

import pytest
from house import House

from ocrd.errors import DocumentError, MachineError
from ocrd.model import Access, FileStamp, Settled
from ocrd.storage import comparing, deliveries, durable, naming, renames, safe_paths
from ocrd.storage.job import Job
from ocrd.storage.spool import Spool


class Watch:
    """The folders of a watch, with something outside that nobody may touch."""

    def __init__(self, root: Path) -> None:
        self.inbox, self.work, self.archive, self.outside = (
            root / name for name in ("inbox", "work", "archive", "outside")
        )
        for folder in (self.inbox, self.archive, self.outside):
            folder.mkdir()
        (self.outside / "a.pdf").write_bytes(b"a secret")
        self.spool = Spool("test", self.inbox, self.work)
        self.spool.open(self.archive)

    def drop(self, name: str, data: bytes = b"a scan  ") -> Settled:
        path = self.inbox / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return Settled(path, FileStamp.of(path.lstat()))

    def job(self, name: str) -> Job:
        job = self.spool.claim(self.drop(name))
        assert job
        return job

    def untouched(self) -> bool:
        return os.listdir(self.outside) == ["a.pdf"] and (self.outside / "a.pdf").read_bytes() == b"a secret"


@pytest.fixture
def watch(tmp_path: Path) -> "Watch":
    return Watch(tmp_path)


def test_a_subfolder_that_became_a_link_is_not_followed_by_a_claim(watch: Watch) -> None:
    settled = watch.drop("sub/a.pdf")
    settled.path.unlink()
    settled.path.parent.rmdir()
    settled.path.parent.symlink_to(watch.outside)
    secret = watch.outside / "a.pdf"
    os.utime(secret, ns=(0, settled.stamp.mtime_ns))  # of the same size and time
    seen = Settled(settled.path, FileStamp.of(secret.stat()))  # and even the same file, as a scan in between saw it
    assert watch.spool.claim(settled) is None
    assert watch.spool.claim(seen) is None
    assert watch.untouched()
    assert os.listdir(watch.work) == []


def test_a_file_that_became_a_link_is_not_claimed(watch: Watch) -> None:
    settled = watch.drop("a.pdf")
    settled.path.unlink()
    settled.path.symlink_to(watch.outside / "a.pdf")
    assert watch.spool.claim(settled) is None
    assert watch.spool.claim(Settled(settled.path, FileStamp.of(settled.path.lstat()))) is None
    assert settled.path.is_symlink()
    assert watch.untouched()


def test_a_subfolder_of_the_archive_that_became_a_link_is_not_followed(watch: Watch) -> None:
    job = watch.job("sub/b.pdf")
    (watch.archive / "sub").symlink_to(watch.outside)
    with pytest.raises(MachineError, match=r"Move away the link .* stands where .*archive/sub"):
        watch.spool.archive(job, watch.archive)
    assert watch.untouched()
    assert job.source.exists()
    (watch.archive / "sub").unlink()
    assert watch.spool.archive(job, watch.archive) == watch.archive / "sub/b.pdf"


def test_a_dead_claim_by_copy_does_not_delete_through_a_link(watch: Watch) -> None:
    job = watch.job("sub/b.pdf")
    (watch.inbox / "sub").rmdir()
    (watch.inbox / "sub").symlink_to(watch.outside)
    os.link(job.source, watch.outside / "b.pdf")  # the very same file, elsewhere
    watch.spool.close()
    again = Spool("test", watch.inbox, watch.work)
    again.open()
    assert [left.id for left in again.recover()] == [job.id]
    assert (watch.outside / "b.pdf").exists()


@pytest.mark.parametrize("name", ["a\nb.pdf", "a\x1b[31m.pdf", "--help.pdf", "~.pdf", "$(id).pdf", "\udcff\udcfe.pdf"])
def test_an_odd_name_is_a_name_like_any_other(watch: Watch, name: str) -> None:
    job = watch.job(name)
    assert watch.spool.archive(job, watch.archive) == watch.archive / name
    assert os.listdir(watch.archive) == [name]


@pytest.mark.parametrize("name", ["../a.pdf", "sub/../../a.pdf", "a/.."])
def test_no_name_leads_upwards(watch: Watch, name: str) -> None:
    with pytest.raises(ValueError, match="a"), safe_paths.beneath(watch.inbox, name):
        pass


def test_a_fifo_or_link_is_never_opened_for_its_pages(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pdf")
    (tmp_path / "whole.pdf").write_bytes(b"%PDF-")
    (tmp_path / "link.pdf").symlink_to(tmp_path / "whole.pdf")
    for name in ("fifo.pdf", "link.pdf"):
        with pytest.raises(safe_paths.NotRegularError), safe_paths.regular(tmp_path / name):
            pass


def test_a_file_that_may_not_be_taken_holds_up_no_other(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # as in a folder with the sticky bit

    settled = watch.drop("a.pdf")
    monkeypatch.setattr(renames, "rename_own", refuse)
    with pytest.raises(DocumentError, match=r"a\.pdf may not be taken out of its folder"):
        watch.spool.claim(settled)
    assert settled.path.exists()
    assert os.listdir(watch.work) == []


@pytest.mark.parametrize("closed", ["inbox", "work"])
def test_a_folder_that_may_not_be_used_is_not_blamed_on_the_file(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    settled = watch.drop("a.pdf")
    monkeypatch.setattr(renames, "rename_own", refuse)
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).startswith(str(getattr(watch, closed))))
    with pytest.raises(MachineError, match="Permission denied"):
        watch.spool.claim(settled)
    assert settled.path.exists()


def test_what_is_made_gets_the_mode_and_group_of_the_watch(tmp_path: Path) -> None:
    group = 4242 if os.geteuid() == 0 else os.getegid()
    access = Access(0o664, group)
    naming.place(
        tmp_path,
        "sub/deep/a.md",
        lambda path: durable.write_new(path, b"text", tag="x"),
        is_ours=lambda _: False,
        recorded=None,
        record=lambda _: None,
        access=access,
    )
    for name, mode in {"sub": 0o775, "sub/deep": 0o775, "sub/deep/a.md": 0o664}.items():
        status = (tmp_path / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (mode, group), name


def test_a_copied_original_is_open_to_nobody_who_could_not_read_it_before(tmp_path: Path, small_disk: Path) -> None:
    original = tmp_path / "a.pdf"
    original.write_bytes(b"private")
    original.chmod(0o600)
    with durable.sharing(Access(0o664, None)):
        durable.move_new(original, small_disk / "a.pdf", tag="x")
    assert stat.S_IMODE((small_disk / "a.pdf").stat().st_mode) == 0o600


@pytest.mark.parametrize(("mode", "left"), [("0664", 0o775), ("0660", 0o770), ("0600", 0o700), (None, 0o777)])
def test_nobody_looks_into_the_work_folder_who_may_not_read_results(house: House, mode: str | None, left: int) -> None:
    house.configure(watch={"mode": mode} if mode else {})
    work = house.root / "scans/.inbox.ocrd-work"
    work.mkdir()
    work.chmod(0o777)
    if mode == "0664":
        work.chmod(0o775)
    assert house.start("once").wait(120) == 0
    assert stat.S_IMODE(work.stat().st_mode) == left


def test_a_socket_is_no_file(tmp_path: Path) -> None:
    os.mknod(tmp_path / "a.md", stat.S_IFSOCK | 0o644)
    with pytest.raises(safe_paths.NotRegularError), safe_paths.regular(tmp_path / "a.md"):
        pass
    assert not comparing.same_file(tmp_path / "a.md", tmp_path / "a.md")


def test_a_sidecar_without_end_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.md").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DocumentError, match="larger than any file that ocrd reads again"):
        deliveries.read(tmp_path, "a.md")


def test_what_lies_at_a_path_that_can_not_be_looked_at_is_not_taken_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert safe_paths.lies_at(tmp_path / "loop")
    assert not safe_paths.lies_at(tmp_path / "absent")
    with pytest.raises(OSError, match="symbolic links"):
        safe_paths.lies_at(tmp_path / "loop" / "inside")
