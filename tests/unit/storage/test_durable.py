"""Durable writes and moves: whole or not at all, never over something else, and honest about the machine."""

import errno
import os
import shutil
import signal
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd import display
from ocrd.errors import MachineError, SpoolError
from ocrd.storage import comparing, durable, locks, mounts, naming, renames
from ocrd.storage.os_errors import machine_faults

Refuse = Callable[[int], None]


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_file_is_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    durable.write_new(tmp_path / "a.md", b"text", tag="job")
    assert listing(tmp_path) == {"a.md": b"text"}


def test_a_new_file_is_never_written_over_another(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        durable.write_new(tmp_path / "a.md", b"ours", tag="job")
    assert listing(tmp_path) == {"a.md": b"theirs"}


def test_a_dangling_link_counts_as_taken(tmp_path: Path) -> None:
    (tmp_path / "a.md").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        durable.write_new(tmp_path / "a.md", b"ours", tag="job")
    assert naming.free_name(tmp_path, "a.md") == "a (2).md"
    assert os.listdir(tmp_path) == ["a.md"]


def test_an_own_record_is_replaced_whole(tmp_path: Path) -> None:
    durable.write_own(tmp_path / "job.json", b"one")
    durable.write_own(tmp_path / "job.json", b"two")
    assert listing(tmp_path) == {"job.json": b"two"}


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".ocrd-job.tmp").symlink_to("victim")
    durable.write_new(tmp_path / "a.md", b"text", tag="job")
    assert listing(tmp_path) == {"a.md": b"text", "victim": b"precious"}
    assert not (tmp_path / "a.md").is_symlink()


def test_what_a_crash_left_at_the_temporary_name_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".ocrd-job.tmp").write_bytes(b"half of a longer tex")
    durable.write_new(tmp_path / "a.md", b"text", tag="job")
    assert listing(tmp_path) == {"a.md": b"text"}


@pytest.mark.parametrize("write", [durable.write_own, lambda path, data: durable.write_new(path, data, tag="job")])
def test_a_write_that_is_broken_off_leaves_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "bad disk")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(MachineError, match="Input/output error"):
        write(tmp_path / "a.md", b"text")
    assert listing(tmp_path) == {}


def test_every_durable_write_syncs_the_file_then_names_it_then_syncs_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), (tmp_path / "a").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    durable.write_new(tmp_path / "a", b"text", tag="job")
    assert synced == [(str(tmp_path / ".ocrd-job.tmp"), False), (str(tmp_path), True)]
    synced.clear()
    (tmp_path / "there").mkdir()
    durable.move_new(tmp_path / "a", tmp_path / "there/a", tag="job")
    assert {folder for folder, _ in synced} == {str(tmp_path), str(tmp_path / "there")}


def test_a_killed_writer_leaves_the_old_record_or_the_new_one(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    durable.write_own(tmp_path / "job.json", b"old")
    killed = (
        "import os, signal, sys; from pathlib import Path; from ocrd.storage import durable\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "durable.write_own(Path(sys.argv[1]) / 'job.json', b'new')"
    )
    assert run_python("-c", killed, tmp_path).returncode == -signal.SIGKILL
    assert (tmp_path / "job.json").read_bytes() == b"old"
    durable.write_own(tmp_path / "job.json", b"new")
    assert listing(tmp_path) == {"job.json": b"new"}


@pytest.mark.parametrize("refused", [0, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_move_takes_a_free_name_and_never_a_taken_one(tmp_path: Path, refuse_renameat2: Refuse, refused: int) -> None:
    if refused:
        refuse_renameat2(refused)
    for name, data in (("a", b"ours"), ("b", b"ours too"), ("taken", b"theirs")):
        (tmp_path / name).write_bytes(data)
    durable.move_new(tmp_path / "a", tmp_path / "free", tag="job")
    with pytest.raises(FileExistsError):
        durable.move_new(tmp_path / "b", tmp_path / "taken", tag="job")
    with pytest.raises(renames.NotAsSeenError):
        durable.move_new(tmp_path / "gone", tmp_path / "new", tag="job")
    assert listing(tmp_path) == {"free": b"ours", "b": b"ours too", "taken": b"theirs"}
    durable.write_new(tmp_path / "new", b"text", tag="job")
    with pytest.raises(FileExistsError):
        durable.write_new(tmp_path / "new", b"other", tag="job")
    assert (tmp_path / "new").read_bytes() == b"text"


def test_without_hard_links_either_a_taken_name_is_still_refused(
    tmp_path: Path, refuse_renameat2: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links on FAT")

    refuse_renameat2(errno.EINVAL)
    monkeypatch.setattr(os, "link", no_links)
    test_a_move_takes_a_free_name_and_never_a_taken_one(tmp_path, refuse_renameat2, 0)


def test_a_program_that_is_the_file_system_may_call_it_a_failure_that_it_has_no_hard_links(
    tmp_path: Path, refuse_renameat2: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As rclone does. Of a disk the same error is its fault."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    refuse_renameat2(errno.EINVAL)
    monkeypatch.setattr(os, "link", failing)
    (tmp_path / "a").write_bytes(b"ours")
    with pytest.raises(MachineError, match="Input/output error"):
        durable.move_new(tmp_path / "a", tmp_path / "b", tag="job")
    assert listing(tmp_path) == {"a": b"ours"}
    (tmp_path / "a").unlink()
    monkeypatch.setattr(mounts, "kind_of", lambda _: "fuse.rclone")
    test_a_move_takes_a_free_name_and_never_a_taken_one(tmp_path, refuse_renameat2, 0)


def test_two_names_of_a_file_may_have_numbers_of_their_own(
    tmp_path: Path, refuse_renameat2: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on sshfs and mergerfs: there a link looks like a copy."""
    refuse_renameat2(errno.EINVAL)
    monkeypatch.setattr(os, "link", lambda source, target, **_: shutil.copy2(source, target))
    (tmp_path / "a").write_bytes(b"ours")
    durable.move_new(tmp_path / "a", tmp_path / "b", tag="job")
    assert listing(tmp_path) == {"b": b"ours"}


def test_a_deletion_that_was_done_and_is_said_to_have_failed_loses_no_file(
    tmp_path: Path, refuse_renameat2: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server of NFS may answer, that restarts and is asked for the same again."""
    real = os.unlink

    def unlink(path: Path) -> None:
        real(path)
        if path.name == "a":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    refuse_renameat2(errno.EINVAL)
    (tmp_path / "a").write_bytes(b"ours")
    monkeypatch.setattr(os, "unlink", unlink)
    durable.move_new(tmp_path / "a", tmp_path / "b", tag="job")
    assert listing(tmp_path) == {"b": b"ours"}


def test_a_link_is_moved_as_a_link_where_renameat2_is_refused(tmp_path: Path, refuse_renameat2: Refuse) -> None:
    refuse_renameat2(errno.EINVAL)
    (tmp_path / "link").symlink_to("/etc/hostname")
    durable.move_new(tmp_path / "link", tmp_path / "moved", tag="job")
    assert os.readlink(tmp_path / "moved") == "/etc/hostname"


def test_a_move_to_another_mount_copies_and_then_deletes(tmp_path: Path, small_disk: Path) -> None:
    source, target = tmp_path / "a.pdf", small_disk / "b.pdf"
    source.write_bytes(b"x" * 5000)
    os.utime(source, ns=(1_000_000_007, 2_000_000_009))
    assert not durable.one_mount(tmp_path, small_disk)
    assert durable.one_mount(tmp_path, tmp_path)
    durable.move_new(source, target, tag="job")
    assert listing(tmp_path) == {}
    assert listing(small_disk) == {"b.pdf": b"x" * 5000}
    assert target.stat().st_mtime_ns == 2_000_000_009


def test_a_move_to_another_mount_never_overwrites(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "a").write_bytes(b"ours")
    (small_disk / "a").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        durable.move_new(tmp_path / "a", small_disk / "a", tag="job")
    assert (listing(tmp_path), listing(small_disk)) == ({"a": b"ours"}, {"a": b"theirs"})


def test_a_file_that_grows_while_it_is_copied_stays_where_it_is(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"first half")
    real = durable.write_all

    def write_slowly(descriptor: int, data: bytes) -> None:
        real(descriptor, data)
        with source.open("ab") as more:
            more.write(b", second half")

    monkeypatch.setattr(durable, "write_all", write_slowly)
    with pytest.raises(renames.NotAsSeenError):
        durable.move_new(source, small_disk / "a", tag="job")
    assert (listing(tmp_path), listing(small_disk)) == ({"a": b"first half, second half"}, {})


@pytest.mark.parametrize("became", ["link", "fifo", "folder"])
def test_what_is_no_regular_file_is_not_copied_to_another_mount(tmp_path: Path, small_disk: Path, became: str) -> None:
    source = tmp_path / "a"
    {"link": lambda: source.symlink_to("/etc/hostname"), "fifo": lambda: os.mkfifo(source), "folder": source.mkdir}[
        became
    ]()
    with pytest.raises(renames.NotAsSeenError):
        durable.move_new(source, small_disk / "a", tag="job")
    assert os.path.lexists(source)
    assert os.listdir(small_disk) == []


def test_a_full_disk_is_the_machines_fault_and_leaves_no_temporary(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 2**21)
    with pytest.raises(MachineError, match="No space left on device") as caught:
        durable.write_new(small_disk / "a.md", b"x" * 2**21, tag="job")
    assert str(small_disk / "a.md") in caught.value.what
    assert caught.value.remedy == f"Free some space on the file system of {small_disk}."
    with pytest.raises(MachineError, match="No space left on device"):
        durable.move_new(tmp_path / "big", small_disk / "big", tag="job")
    assert os.listdir(small_disk) == []
    assert (tmp_path / "big").stat().st_size == 2**21


def test_a_disk_mounted_for_reading_only_is_the_machines_fault(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(MachineError, match="Read-only file system") as caught:
        durable.write_new(small_disk / "a.md", b"x", tag="job")
    assert caught.value.remedy.startswith(f"Mount {small_disk} for writing")
    for refused in (
        lambda: durable.one_mount(small_disk, small_disk),
        lambda: durable.make_folders(small_disk / "a/b", below=small_disk),
    ):
        with pytest.raises(MachineError, match="Read-only file system"):
            refused()


def test_a_folder_without_permission_is_the_machines_fault(
    tmp_path: Path, run_python: Callable[..., Any], plain_user: dict[str, Any]
) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    write = (
        "import sys; from pathlib import Path; from ocrd.storage import durable\n"
        "durable.write_new(Path(sys.argv[1]), b'', tag='j')"
    )
    told = run_python("-c", write, tmp_path / "closed/a.md", **plain_user)
    assert "MachineError" in told.stderr
    assert f"Could not write {tmp_path}/closed/a.md: Permission denied." in told.stderr
    assert f"(uid {os.geteuid()}) permission to read and write there" in told.stderr


def test_a_share_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    share = tmp_path / "share"
    with pytest.raises(MachineError, match="No such file or directory") as caught:
        durable.make_folders(share / "a/b", below=share)
    assert "Is the share mounted" in caught.value.remedy
    with pytest.raises(MachineError, match="No such file or directory"):
        durable.write_new(share / "a.md", b"x", tag="job")
    assert not share.exists()
    share.mkdir()
    durable.make_folders(share / "a/b", below=share)
    durable.make_folders(share / "a/b", below=share)
    assert (share / "a/b").is_dir()


def test_a_free_name_comes_behind_a_taken_one_and_is_not_taken(tmp_path: Path) -> None:
    for name in ("scan.pdf", "scan (2).pdf", "scan (4).pdf"):
        (tmp_path / name).touch()
    assert naming.free_name(tmp_path, "other.pdf") == "other.pdf"
    assert naming.free_name(tmp_path, "scan.pdf") == "scan (5).pdf"
    (tmp_path / "scan (4).pdf").unlink()
    assert naming.free_name(tmp_path, "scan.pdf") == "scan (3).pdf"
    assert naming.free_name(tmp_path, "not/there/scan.pdf") == "not/there/scan.pdf"


def test_a_free_name_among_thousands_is_found_in_a_few_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 3001):
        (tmp_path / naming.free_name(tmp_path, "scan.pdf")).touch()
        assert number < 3 or (tmp_path / f"scan ({number}).pdf").exists()
    looks = []
    exists = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: looks.append(path) or exists(path))
    assert naming.free_name(tmp_path, "scan.pdf") == "scan (3001).pdf"
    assert len(looks) < 30
    assert naming.free_name(tmp_path, "scan.pdf", [".json"]) == "scan (3001).pdf"
    (tmp_path / "scan (3001).json").touch()
    assert naming.free_name(tmp_path, "scan.pdf", [".json"]) == "scan (3002).pdf"


def test_a_free_name_has_room_for_its_companion(tmp_path: Path) -> None:
    (tmp_path / "scan.pdf.error.md").touch()
    assert naming.free_name(tmp_path, "scan.pdf", [".pdf.error.md"]) == "scan (2).pdf"
    name = naming.free_name(tmp_path, "x" * 251 + ".pdf", [".pdf.error.md"])
    assert name == "x" * (255 - 13) + ".pdf"
    (tmp_path / f"{name}.error.md").touch()


@pytest.mark.parametrize(
    "name", ["y" * 251 + ".pdf", "é" * 125 + "a.pdf", "😀" * 62 + "abc.pdf", "\udce9" * 251 + ".pdf"]
)
def test_a_name_of_255_bytes_is_cut_at_a_character_to_be_free(tmp_path: Path, name: str) -> None:
    assert len(os.fsencode(name)) == naming.NAME_MAX
    assert naming.free_name(tmp_path, name) == name
    for _ in range(3):
        free = naming.free_name(tmp_path, name)
        (tmp_path / free).touch(exist_ok=False)
    assert free.endswith(" (3).pdf")
    assert name.startswith(free.removesuffix(" (3).pdf"))
    assert len(os.fsencode(free)) > naming.NAME_MAX - 4


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=200), st.integers(0, 20))
def test_a_fitted_name_is_as_long_as_it_may_be(stem: str, spare: int) -> None:
    fitted = naming.fitted(stem, " (2).pdf", spare=spare)
    room = naming.NAME_MAX - spare
    assert len(os.fsencode(fitted)) <= room
    kept = fitted.removesuffix(" (2).pdf")
    assert stem.startswith(kept)
    assert kept == stem or len(os.fsencode(stem[: len(kept) + 1] + " (2).pdf")) > room


class Chosen:
    """The memory of a job for the name that it chose."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.history: list[str] = []

    def record(self, name: str) -> None:
        self.name = name
        self.history.append(name)

    def place(self, folder: Path, wanted: str, put: Callable[[Path], None], data: bytes = b"ours") -> Path:
        return naming.place(
            folder,
            wanted,
            put,
            is_ours=lambda path: comparing.holds(path, data),
            recorded=self.name,
            record=self.record,
        )


def put(path: Path) -> None:
    durable.write_new(path, b"ours", tag="job")


def test_a_name_is_recorded_before_it_is_used(tmp_path: Path) -> None:
    chosen = Chosen()

    def look(path: Path) -> None:
        assert chosen.name == "a/scan.md"
        put(path)

    assert chosen.place(tmp_path, "a/scan.md", look) == tmp_path / "a/scan.md"
    assert listing(tmp_path) == {"a/scan.md": b"ours"}


def test_a_strangers_file_that_comes_in_between_is_not_overwritten(tmp_path: Path) -> None:
    chosen, rivals = Chosen(), iter([b"theirs", b"also theirs", None])

    def beaten(path: Path) -> None:
        if rival := next(rivals):
            path.write_bytes(rival)
        put(path)

    assert chosen.place(tmp_path, "scan.md", beaten) == tmp_path / "scan (3).md"
    assert listing(tmp_path) == {"scan.md": b"theirs", "scan (2).md": b"also theirs", "scan (3).md": b"ours"}
    assert chosen.history == ["scan.md", "scan (2).md", "scan (3).md"]


def test_what_we_put_there_before_a_crash_is_known_again(tmp_path: Path) -> None:
    (tmp_path / "scan.md").write_bytes(b"ours")
    assert Chosen("scan.md").place(tmp_path, "scan.md", put) == tmp_path / "scan.md"
    assert listing(tmp_path) == {"scan.md": b"ours"}


def test_a_recorded_name_that_a_stranger_took_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "scan.md").write_bytes(b"thr!")
    assert Chosen("scan.md").place(tmp_path, "scan.md", put) == tmp_path / "scan (2).md"
    assert listing(tmp_path) == {"scan.md": b"thr!", "scan (2).md": b"ours"}


def test_a_recorded_name_that_was_not_used_yet_is_used(tmp_path: Path) -> None:
    assert Chosen("scan (7).md").place(tmp_path, "scan.md", put) == tmp_path / "scan (7).md"


def test_only_a_regular_file_holds_our_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"ours")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "fifo")
    assert comparing.holds(tmp_path / "a", b"ours")
    for name in ("link", "fifo", "gone", "."):
        assert not comparing.holds(tmp_path / name, b"ours")
    assert not comparing.holds(tmp_path / "a", b"our")


def test_two_files_are_the_same_by_their_bytes_and_a_link_is_no_file(tmp_path: Path) -> None:
    for name, data in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, ns=(0, 0))
    (tmp_path / "hard").hardlink_to(tmp_path / "a")
    (tmp_path / "link").symlink_to("a")
    assert comparing.same_file(tmp_path / "a", tmp_path / "b")
    assert comparing.same_file(tmp_path / "a", tmp_path / "hard")
    assert not comparing.same_file(tmp_path / "a", tmp_path / "c")
    assert not comparing.same_file(tmp_path / "a", tmp_path / "gone")
    assert not comparing.same_file(tmp_path / "a", tmp_path / "link"), "deleting the file would leave a link to nothing"


def test_a_lock_is_held_by_one_process_until_it_lets_go(tmp_path: Path) -> None:
    descriptor = locks.lock_folder(tmp_path)
    with pytest.raises(SpoolError, match="Another ocrd is already working in"):
        locks.lock_folder(tmp_path)
    os.close(descriptor)
    os.close(locks.lock_folder(tmp_path))


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").touch()
    durable.remove(tmp_path / "a/b/c")
    durable.remove(tmp_path / "a/b/c")
    durable.remove_folder(tmp_path / "a")
    durable.remove_folder(tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_only_what_is_ours_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "job/ours/theirs").mkdir(parents=True)
    (tmp_path / "job/ours/a").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a").touch()
    (tmp_path / "job/link").symlink_to(tmp_path / "elsewhere")
    assert durable.remove_own(tmp_path / "job", {"ours", "ours/a", "link", "link/a"}.__contains__) == []
    assert sorted(os.listdir(tmp_path / "job")) == ["link", "ours"]
    assert os.listdir(tmp_path / "job/ours") == ["theirs"]
    assert os.listdir(tmp_path / "elsewhere") == ["a"]
    os.unlink(tmp_path / "job/link")
    assert durable.remove_own(tmp_path / "job", {"ours", "ours/theirs"}.__contains__) == []
    assert durable.remove_own(tmp_path / "job", {"ours"}.__contains__) == []
    assert os.listdir(tmp_path) == ["elsewhere"]


@pytest.mark.parametrize(
    ("path", "told"),
    [("/a/scan.pdf", "/a/scan.pdf"), ("ü😀", "ü😀"), ("caf\udce9", r"caf\xe9"), ("a\nb\x1b[2J", r"a\nb\x1b[2J"),
     ("\u202egpj", r"\u202egpj"), ("\ud800", r"\ud800")],
)  # fmt: skip
def test_a_path_is_shown_so_that_it_disturbs_nobody(path: str, told: str) -> None:
    assert display.shown(path) == told


def test_names_that_are_not_utf_8_are_written_moved_and_numbered_like_others(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.pdf")
    durable.write_new(tmp_path / name, b"one", tag="job")
    assert naming.free_name(tmp_path, name) == os.fsdecode(b"caf\xe9 (2).pdf")
    durable.move_new(tmp_path / name, tmp_path / os.fsdecode(b"caf\xe9 (2).pdf"), tag="job")
    assert os.listdir(os.fsencode(tmp_path)) == [b"caf\xe9 (2).pdf"]
    with pytest.raises(MachineError) as caught:
        durable.write_new(tmp_path / "gone" / name, b"", tag="job")
    assert r"caf\xe9.pdf" in str(caught.value)


@pytest.fixture
def exchanging(tmp_path: Path) -> tuple[Path, Path, Path]:
    new, target, old = (tmp_path / name for name in ("new", "target", "old"))
    new.write_bytes(b"new")
    target.write_bytes(b"old")
    old.write_bytes(b"old")
    return new, target, old


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(".ocrd-"))


def test_a_file_that_was_seen_is_replaced_and_once_more_is_the_same(exchanging: tuple[Path, Path, Path]) -> None:
    for _ in range(2):
        durable.replace_seen(*exchanging, tag="x")
        assert exchanging[1].read_bytes() == b"new"
        assert left(exchanging[1].parent) == []


def test_a_file_that_is_another_is_not_replaced(exchanging: tuple[Path, Path, Path]) -> None:
    for change in (lambda: exchanging[1].write_bytes(b"edited"), exchanging[1].unlink):
        change()
        before = exchanging[1].read_bytes() if exchanging[1].exists() else None
        with pytest.raises(renames.NotAsSeenError):
            durable.replace_seen(*exchanging, tag="x")
        assert (exchanging[1].read_bytes() if exchanging[1].exists() else None) == before


def test_an_edit_in_the_very_instant_is_put_back(
    exchanging: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = renames.exchange

    def late(one: Path, other: Path) -> None:
        if exchanging[1].read_bytes() == b"old":
            exchanging[1].write_bytes(b"edited")
        real(one, other)

    monkeypatch.setattr(renames, "exchange", late)
    with pytest.raises(renames.NotAsSeenError):
        durable.replace_seen(*exchanging, tag="x")
    assert exchanging[1].read_bytes() == b"edited"
    assert left(exchanging[1].parent) == []


def test_a_file_is_replaced_where_nothing_can_be_exchanged(
    exchanging: tuple[Path, Path, Path], refuse_renameat2: Callable[[int], None]
) -> None:
    refuse_renameat2(errno.EINVAL)
    durable.replace_seen(*exchanging, tag="x")
    assert exchanging[1].read_bytes() == b"new"
    assert left(exchanging[1].parent) == []


# Where renameat2(2) with RENAME_NOREPLACE is not known


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record links, unlinks and syncs from now on."""
    steps: list[str] = []

    def spy(name: str, told: Callable[..., str]) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            steps.append(told(*args))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    spy("link", lambda _, target: f"link {target.parent.name}")
    spy("unlink", lambda path: f"unlink {path.parent.name}")
    spy("fsync", lambda file: f"fsync {Path(os.readlink(f'/proc/self/fd/{file}')).name}")
    return steps


def test_a_move_by_links_takes_the_old_name_away_once_the_new_one_is_synced(
    tmp_path: Path, refuse_renameat2: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("inbox", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "inbox/a").write_bytes(b"x")
    refuse_renameat2(errno.EINVAL)
    steps = recorded(monkeypatch)
    durable.move_new(tmp_path / "inbox/a", tmp_path / "work/a", tag="t")
    assert steps[:3] == ["link work", "fsync work", "unlink inbox"]
    assert steps[-1] == "fsync inbox"


def test_what_may_be_linked_but_not_taken_away_is_left_where_it_is(
    tmp_path: Path, refuse_renameat2: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder with the sticky bit, of another user's file."""
    (tmp_path / "a").write_bytes(b"x")
    refuse_renameat2(errno.EINVAL)
    real = os.unlink

    def unlink(path: Path) -> None:
        if path.name == "a":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    for _ in range(2):
        with pytest.raises(MachineError, match="Operation not permitted"):
            durable.move_new(tmp_path / "a", tmp_path / "b", tag="t")
        assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_took_the_name_after_the_link_is_not_deleted(
    tmp_path: Path, refuse_renameat2: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")
    refuse_renameat2(errno.EINVAL)
    monkeypatch.setattr(renames, "sync_folder", lambda _: os.replace(tmp_path / "new", tmp_path / "a"))
    with pytest.raises(renames.NotAsSeenError):
        durable.move_new(tmp_path / "a", tmp_path / "b", tag="t")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new"


# What strangers put in the way


@pytest.fixture
def soon() -> Iterator[None]:
    """Fail what would wait for ever."""
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_regular_file_is_neither_waited_for_nor_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "ours").write_bytes(b"x")
    make(tmp_path / "theirs")
    assert not comparing.same_file(tmp_path / "ours", tmp_path / "theirs")
    assert not comparing.same_file(tmp_path / "theirs", tmp_path / "ours")
    assert not comparing.holds(tmp_path / "theirs", b"x")


def test_a_folder_at_the_temporary_name_holds_nobody_up_and_stays(tmp_path: Path) -> None:
    for name in (".ocrd-t.tmp", ".ocrd-t-2.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / ".ocrd-t.folder.tmp").write_bytes(b"a stranger's")
    (tmp_path / "source").write_bytes(b"copied")
    durable.write_new(tmp_path / "a", b"x", tag="t")
    durable.copy_new(tmp_path / "source", tmp_path / "b", tag="t")
    durable.folder_new(tmp_path / "c", [tmp_path / "source"], tag="t")
    assert (tmp_path / "a").read_bytes() == b"x"
    assert (tmp_path / "b").read_bytes() == b"copied"
    assert (tmp_path / "c/source").read_bytes() == b"copied"
    assert sorted(os.listdir(tmp_path)) == [
        ".ocrd-t-2.tmp", ".ocrd-t.folder.tmp", ".ocrd-t.tmp", "a", "b", "c", "source",
    ]  # fmt: skip


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.write_bytes(b"x")])
def test_a_probe_is_held_up_by_nothing_that_has_its_name(tmp_path: Path, make: Callable[[Path], None]) -> None:
    probe = f"probe-{zlib.crc32(os.fsencode(tmp_path / 'work')):08x}"
    for name in ("inbox", "work"):
        (tmp_path / name).mkdir()
        make(tmp_path / name / f".ocrd-{probe}.tmp")
        make(tmp_path / name / f".ocrd-{probe}.moved.tmp")
    assert durable.one_mount(tmp_path / "work", tmp_path / "inbox")


def test_new_folders_are_synced_in_those_around_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = recorded(monkeypatch)
    durable.make_folders(tmp_path / "a/b/c")
    assert steps == [f"fsync {name}" for name in (tmp_path.name, "a", "b")]


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"x"), lambda path: path.symlink_to("/not/there")])
def test_what_stands_where_a_folder_is_to_be_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "outbox")
    with pytest.raises(MachineError, match="make the folder") as caught:
        durable.make_folders(tmp_path / "outbox")
    assert caught.value.remedy.startswith(f"Move away the link or file that stands where {tmp_path / 'outbox'}")


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"x"), lambda path: path.symlink_to("/not/there")])
def test_of_a_deep_path_that_part_is_named_which_is_in_the_way(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "sub")
    with pytest.raises(MachineError) as caught, machine_faults("reach", tmp_path / "sub/deep/deeper"):
        raise NotADirectoryError(errno.ENOTDIR, "")
    assert f"that stands where {tmp_path / 'sub'} should be" in caught.value.remedy
