"""The shipped unit on a real systemd, with the shipped user, folders, log fields and catalog."""

import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import machine
import pymupdf
import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
UNITS = REPOSITORY / "systemd"
UNIT = "ocrd.service"
CONFIG = "/etc/ocrd/ocrd.yaml"
CHECKOUT, ENVIRONMENT = "/opt/checkout", "/opt/environment"
"""Where the machine sees this checkout and our virtual environment, wherever they lie: it has a /tmp of its own."""
PYTHONPATH = f"{CHECKOUT}/tests/support:{CHECKOUT}"
"""Where Python finds this checkout and the engine of the tests."""
OCRD = Path("/opt/ocrd/.venv/bin/ocrd")
PROGRAM = f"""\
#!{OCRD.with_name("python3")}
import sys
from ocr_inbox import main
if __name__ == "__main__":
    sys.exit(main())
"""
"""As pip writes it."""

_journal = importlib.util.find_spec("systemd") and importlib.util.find_spec("systemd.journal")
_why_not = machine.why_not() or ("" if _journal else "the Python package systemd-python is not installed")
pytestmark = pytest.mark.skipif(bool(_why_not), reason=_why_not)


class Host(machine.Machine):
    """A machine with ocrd installed as the README says."""

    def __init__(self, base: Path) -> None:
        super().__init__(base, views={REPOSITORY: CHECKOUT, Path(sys.prefix): ENVIRONMENT})

    def install(self) -> None:
        """Put the shipped files where they belong, and a virtual environment with what is in ours at /opt/ocrd."""
        self.open_ways_to(Path(sys.base_prefix))
        self.put_program()
        etc = self.root / "etc"
        for kind in ("sysusers.d", "tmpfiles.d"):
            (etc / kind).mkdir(exist_ok=True)
            shutil.copy(UNITS / kind / "ocrd.conf", etc / kind)
        for unit in ("ocrd.service", "ocrd@.service", "ocrd.slice"):
            shutil.copy(UNITS / unit, etc / "systemd/system" / unit)
        catalog = self.root / "usr/local/lib/systemd/catalog"
        catalog.mkdir(parents=True, exist_ok=True)
        shutil.copy(UNITS / "ocrd.catalog", catalog)
        drop_in = etc / "systemd/system/ocrd.service.d/test.conf"
        drop_in.parent.mkdir()
        drop_in.write_text(
            "[Service]\n"
            f"Environment=PYTHONPATH={PYTHONPATH} PYTHONDONTWRITEBYTECODE=1\n"
            "ProtectHome=read-only\n"  # this machine's Python may lie in a home
            "WatchdogSec=10s\n"  # longer than a busy machine holds a daemon up
        )
        self.shell(
            "systemd-sysusers; systemd-tmpfiles --create /etc/tmpfiles.d/ocrd.conf;"
            "journalctl --update-catalog; systemctl daemon-reload"
        )

    def put_program(self) -> None:
        """Make /opt/ocrd/.venv: our virtual environment may have a path that exists outside only, as its scripts do."""
        programs = self.root / str(OCRD.parent).lstrip("/")
        programs.mkdir(parents=True)
        (programs / "python3").symlink_to(Path(sys.executable).resolve())
        (programs / "ocrd").write_text(PROGRAM)
        (programs / "ocrd").chmod(0o755)
        (programs.parent / "lib").symlink_to(f"{ENVIRONMENT}/lib")
        shutil.copy(Path(sys.prefix) / "pyvenv.cfg", programs.parent)

    def configure(  # noqa: PLR0913 - what differs from the usual
        self,
        watches: tuple[str, ...] = ("scans",),
        seconds: float = 0.0,
        *,
        file: str = CONFIG,
        folder: str = "/srv/ocr",
        runtime: str = "/run/ocrd",
        watch: dict[str, Any] | None = None,
        **sections: Any,
    ) -> None:
        """Write a configuration over the engine that is a process of its own; `watch` are settings of all watches."""
        settings = {
            "engine": {"kind": "apart:create", "options": {"seconds": seconds, "pid": f"{runtime}/engine.pid"}},
            "settle": {"quiet": "100ms"},
            "batch": {"quiet": "100ms"},
            "render": {"workers": 1},
            "watches": [
                {"name": name}
                | {role: f"{folder}/{name}/{role}" for role in ("inbox", "outbox", "archive", "error")}
                | (watch or {})
                for name in watches
            ],
        }
        (self.root / file.lstrip("/")).write_text(yaml.safe_dump(settings | sections))

    def drop(self, name: str, pages: int = 1, watch: str = "scans", folder: str = "srv/ocr", **how: object) -> None:
        inbox = self.root / folder / watch / "inbox"
        with pymupdf.open() as document:
            for number in range(pages):
                document.new_page().insert_text((20, 40), f"{name} {number}")
            document.save(inbox / f".{name}", **how)
        (inbox / f".{name}").rename(inbox / name)

    def there(self, path: str) -> bool:
        return (self.root / "srv/ocr" / path).exists()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        told = self.run("journalctl", "--output=json", "--all", "--no-pager", *matches).stdout
        return [json.loads(line) for line in told.splitlines()]

    def messages(self, *matches: str) -> list[str]:
        return [str(line["MESSAGE"]) for line in self.journal(*matches)]

    def show(self, key: str) -> str:
        return self.run("systemctl", "show", UNIT, f"--property={key}", "--value").stdout.strip()

    def systemctl(self, *arguments: str) -> None:
        self.run("systemctl", *arguments, check=True)

    def kill(self, pid: int, number: signal.Signals) -> None:
        self.run("kill", f"-{number.value}", str(pid), check=True)

    def processes(self) -> list[str]:
        """List what runs in the service's control group."""
        found: list[str] = []
        for group, _, _ in os.walk(self.root / "sys/fs/cgroup/ocrd.slice"):
            with suppress(OSError):  # it has just gone
                found += Path(group, "cgroup.procs").read_text().split()
        return found

    def pages_kept(self) -> int:
        return len(list((self.root / "srv/ocr/scans").glob(".inbox.ocrd-work/*/pages/*.json")))


@pytest.fixture(scope="module")
def booted() -> Iterator[Host]:
    with tempfile.TemporaryDirectory(prefix="ocrd-") as folder:  # not below pytest's, whose path may be private
        base = Path(folder) / "machine"
        base.mkdir()
        host = Host(base)
        try:
            host.start()
            host.install()
            yield host
        finally:
            host.close()


@pytest.fixture
def host(booted: Host) -> Iterator[Host]:
    booted.configure()
    yield booted
    booted.run("systemctl", "stop", UNIT)
    booted.run("systemctl", "reset-failed", UNIT)
    booted.shell("rm -rf /srv/ocr/*")


def test_the_units_are_without_fault_and_closed_tight(host: Host) -> None:
    for unit in ("ocrd.service", "ocrd@.service", "ocrd.slice"):
        told = host.run("systemd-analyze", "verify", f"/etc/systemd/system/{unit}")
        assert told.returncode == 0, told.stderr
        assert not told.stdout + told.stderr
    told = host.run("systemd-analyze", "security", "--offline=yes", "--threshold=30", f"{CHECKOUT}/systemd/{UNIT}")
    assert told.returncode == 0, told.stdout


def test_a_scan_is_delivered_and_the_journal_finds_it_by_its_job(host: Host) -> None:
    host.systemctl("start", UNIT)
    assert host.show("ActiveState") == "active"
    host.wait(lambda: "nothing to read" in host.show("StatusText"))
    host.drop("letter.pdf", pages=3)
    host.wait(lambda: host.there("scans/archive/letter.pdf"))
    assert host.there("scans/outbox/letter.md")
    host.wait(lambda: host.journal("OCRD_SOURCE=letter.pdf", "OCRD_PAGES=3"))
    [line] = host.journal("OCRD_SOURCE=letter.pdf", "OCRD_PAGES=3")
    assert (line["OCRD_WATCH"], line["OCRD_VERDICT"], line["PRIORITY"], line["_COMM"]) == (
        "scans", "ok", "6", "ocrd",
    )  # fmt: skip
    assert line["MESSAGE"].startswith("delivered ")
    by_job = host.messages(f"OCRD_JOB={line['OCRD_JOB']}")
    assert [message.split()[0] for message in by_job] == ["accepted", "delivered"]
    explained = host.run("journalctl", "-x", "--no-pager", f"MESSAGE_ID={line['MESSAGE_ID']}").stdout
    assert "All of its 3 pages were read. The Markdown lies at /srv/ocr/scans/outbox/letter.md" in explained


def test_what_the_engine_prints_has_level_and_origin(host: Host) -> None:
    host.systemctl("start", UNIT)
    host.wait(lambda: host.journal("OCRD_ORIGIN=stdout", "PRIORITY=6", "MESSAGE=the engine's own words"))
    host.wait(lambda: host.journal("OCRD_ORIGIN=stderr", "PRIORITY=4", "MESSAGE=WARNING: the engine warns"))


def test_no_child_can_speak_to_systemd_in_our_name(host: Host) -> None:
    host.systemctl("start", UNIT)
    pid = int((host.root / "run/ocrd/engine.pid").read_text())
    environment = host.run("cat", f"/proc/{pid}/environ").stdout
    assert "PYTHONPATH=" in environment
    assert "NOTIFY_SOCKET" not in environment
    assert "WATCHDOG" not in environment


def test_an_engine_that_hangs_trips_the_watchdog_and_the_restart_finishes_the_document(host: Host) -> None:
    host.configure(seconds=0.3, service={"silence": "5s"})
    host.systemctl("start", UNIT)
    host.drop("long.pdf", pages=20)
    host.wait(lambda: host.pages_kept() >= 3)
    pid = int((host.root / "run/ocrd/engine.pid").read_text())
    host.kill(pid, signal.SIGSTOP)
    host.wait(lambda: host.show("NRestarts") == "1")
    assert host.show("Result") != "timeout"
    host.wait(lambda: host.there("scans/archive/long.pdf"))
    assert (host.root / "srv/ocr/scans/outbox/long.md").read_text().count("<!-- page ") == 20
    [complaint] = [line for line in host.messages("-p", "err") if line.startswith("hanging: the engine has had")]
    assert "without answering" in complaint
    assert not Path(host.root / f"proc/{pid}").exists()


def test_a_daemon_whose_loop_hangs_is_ended_and_the_restart_finishes_the_document(host: Host) -> None:
    options = {"pid": "/run/ocrd/engine.pid", "hangs": "/run/ocrd/hung"}
    host.configure(engine={"kind": "apart:create", "options": options})
    host.systemctl("start", UNIT)
    host.drop("letter.pdf", pages=2)
    host.wait(lambda: host.show("NRestarts") == "1")
    host.wait(lambda: host.there("scans/archive/letter.pdf"))
    assert any("Watchdog timeout" in line for line in host.messages("-u", UNIT, "_PID=1"))
    assert any("apart.py" in line for line in host.messages("-u", UNIT)), "the traceback tells where it hung"


def test_a_reload_adds_changes_and_removes_watches_and_drops_no_page(host: Host) -> None:
    host.configure(seconds=0.05)
    host.systemctl("start", UNIT)
    host.drop("long.pdf", pages=30)
    host.wait(lambda: host.pages_kept() >= 2)
    host.configure(("faxes",), seconds=0.05)  # the watch whose pages are in flight is gone
    host.systemctl("reload", UNIT)
    host.wait(lambda: host.there("faxes/inbox"))
    host.drop("fax.pdf", watch="faxes")
    host.wait(lambda: host.there("faxes/archive/fax.pdf") and host.there("scans/archive/long.pdf"))
    assert host.show("NRestarts") == "0"
    host.drop("later.pdf")
    host.configure(("faxes", "scans"), seconds=0.05)
    host.systemctl("reload", UNIT)
    host.wait(lambda: host.there("scans/archive/later.pdf"))


def test_passwords_are_a_credential_that_only_the_service_sees(host: Host) -> None:
    file = host.root / "etc/ocrd/scans.passwords"
    file.write_text("another\nXylophon-4711\n")
    file.chmod(0o600)
    host.configure(watch={"passwords_file": "credential:scans"})
    drop_in = host.root / "etc/systemd/system/ocrd.service.d/passwords.conf"
    drop_in.write_text("[Service]\nLoadCredential=scans:/etc/ocrd/scans.passwords\n")
    host.systemctl("daemon-reload")
    try:
        host.systemctl("start", UNIT)
        host.drop("locked.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="Xylophon-4711", owner_pw="chief")
        host.wait(lambda: host.there("scans/archive/locked.pdf") or host.there("scans/error/locked.pdf"))
        assert host.there("scans/outbox/locked.md"), host.messages("-u", UNIT)[-3:]
        assert not any("Xylophon" in line for line in host.messages())
    finally:
        drop_in.unlink()
        host.systemctl("daemon-reload")


def test_a_bad_configuration_changes_nothing_and_says_why(host: Host) -> None:
    host.systemctl("start", UNIT)
    (host.root / CONFIG.lstrip("/")).write_text("watches: []\n")
    host.systemctl("reload", UNIT)
    host.wait(lambda: any(line.startswith("reload refused: ") for line in host.messages("-p", "err")))
    host.drop("letter.pdf")
    host.wait(lambda: host.there("scans/archive/letter.pdf"))
    assert host.show("ActiveState") == "active"


def test_a_stop_finishes_the_pages_in_flight_and_loses_nothing(host: Host) -> None:
    host.configure(seconds=0.3)
    host.systemctl("start", UNIT)
    host.drop("long.pdf", pages=40)
    host.wait(lambda: host.pages_kept() >= 3)
    host.systemctl("stop", UNIT)
    assert host.show("Result") == "success"
    kept = host.pages_kept()
    assert not host.there("scans/inbox/long.pdf")
    assert not host.there("scans/outbox/long.md")
    [job] = (host.root / "srv/ocr/scans/.inbox.ocrd-work").glob("*/job.json")
    assert json.loads(job.read_text())["attempts"] == 0
    host.configure()
    host.systemctl("start", UNIT)
    host.wait(lambda: host.journal("OCRD_SOURCE=long.pdf", "OCRD_PAGES=40"))
    [line] = host.journal("OCRD_SOURCE=long.pdf", "OCRD_PAGES=40")
    assert kept >= 3
    assert line["OCRD_STATUS"] == "complete"


def test_a_wrong_configuration_is_not_tried_again(host: Host) -> None:
    (host.root / CONFIG.lstrip("/")).write_text("watches: []\n")
    assert host.run("systemctl", "start", UNIT).returncode != 0
    assert host.show("ExecMainStatus") == str(os.EX_CONFIG)
    assert (host.show("ActiveState"), host.show("NRestarts")) == ("failed", "0")
    assert any("watches: " in line for line in host.messages("-u", UNIT, "-p", "err"))


def test_a_killed_daemon_leaves_no_process_and_comes_back(host: Host) -> None:
    host.configure(seconds=0.1)
    host.systemctl("start", UNIT)
    host.drop("long.pdf", pages=20)
    host.wait(lambda: host.pages_kept() >= 2)
    before = host.processes()
    assert len(before) >= 3, "daemon, engine and render worker"
    host.kill(int(host.show("MainPID")), signal.SIGKILL)
    host.wait(lambda: host.show("ActiveState") != "active")
    host.wait(lambda: not set(before) & set(host.processes()))
    host.wait(lambda: host.there("scans/archive/long.pdf"))


def test_a_new_user_installs_the_service_and_takes_it_away_again(host: Host) -> None:
    """What README's "Run it as a service" says, from the configuration on."""
    host.shell("rm /etc/systemd/system/ocrd.service /etc/systemd/system/ocrd.slice /etc/sysusers.d/ocrd.conf")
    host.shell("rm /usr/local/lib/systemd/catalog/ocrd.catalog; systemctl daemon-reload")
    ours = f"PYTHONPATH={PYTHONPATH} PYTHONDONTWRITEBYTECODE=1 {OCRD}"
    host.shell("rm -rf /srv/ocr; cd /; mkdir -p srv/ocr/scans/{inbox,outbox,archive,error}")  # as `ocrd init` does
    told = host.shell(f"{ours} service install --yes -c {CONFIG}")
    assert "write /etc/systemd/system/ocrd.service" in told
    host.drop("letter.pdf")
    host.wait(lambda: host.there("scans/archive/letter.pdf"))
    assert host.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    assert not host.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}").stderr
    assert "There is nothing to do." in host.shell(f"{ours} service install --yes -c {CONFIG}")
    host.wait(lambda: "last delivered letter.pdf" in host.run("bash", "-c", f"{ours} status -c {CONFIG}").stdout)
    host.shell(f"{ours} service uninstall --yes")
    assert host.show("ActiveState") == "inactive"
    assert host.show("LoadState") == "not-found"
    assert host.there("scans/outbox/letter.md")
    assert host.run("bash", "-c", f"{ours} status -c {CONFIG}").returncode == 2


PERSON = 4000
"""The id of an ordinary user."""


def as_person(host: Host, script: str, *, check: bool = True) -> str:
    """Run a shell script as an ordinary user who is logged in."""
    leave_root = ("setpriv", f"--reuid={PERSON}", f"--regid={PERSON}", "--clear-groups", "env", "-i")
    settings = (
        "HOME=/home/person",
        f"XDG_RUNTIME_DIR=/run/user/{PERSON}",
        "PATH=/usr/bin:/bin",
        f"PYTHONPATH={PYTHONPATH}",
    )
    return host.run(*leave_root, *settings, "PYTHONDONTWRITEBYTECODE=1", "bash", "-ec", script, check=check).stdout


def test_an_ordinary_user_installs_it_for_their_own_service_manager(host: Host) -> None:
    host.shell(
        f"useradd --create-home --uid {PERSON} person; mkdir -p /run/user /home/person/.config/ocrd;"
        f"install --directory --mode 700 --owner person /run/user/{PERSON};"
        f"systemd-run --unit person --uid person --property Delegate=yes --setenv XDG_RUNTIME_DIR=/run/user/{PERSON}"
        " /lib/systemd/systemd --user"
    )
    (host.root / "home/person/.config/ocrd/environment").write_text(f"PYTHONPATH={PYTHONPATH}\n")
    host.configure(file="/home/person/ocrd.yaml", folder="/home/person/ocr", runtime=f"/run/user/{PERSON}/ocrd")
    host.shell("chown -R person /home/person")
    host.wait((host.root / f"run/user/{PERSON}/systemd/private").exists)
    command = f"cd; {OCRD}"
    assert "at each login" in as_person(host, f"{command} service install --user --yes -c ocrd.yaml")
    assert "There is nothing to do." in as_person(host, f"{command} service install --user --yes -c ocrd.yaml")
    assert (
        as_person(host, "systemctl --user show ocrd --property=StatusText --value") == "Engine ready; nothing to read\n"
    )
    assert not as_person(host, "systemd-analyze --user verify ~/.config/systemd/user/ocrd.service 2>&1")
    host.drop("letter.pdf", folder="home/person/ocr")
    host.wait((host.root / "home/person/ocr/scans/archive/letter.pdf").exists)
    as_person(host, "systemctl --user reload ocrd")
    status = f"{command} status -c ocrd.yaml"
    host.wait(lambda: "last delivered letter.pdf" in as_person(host, status, check=False))
    as_person(host, f"{command} service uninstall --user --yes")
    assert as_person(host, "systemctl --user show ocrd --property=LoadState --value") == "not-found\n"
    assert (host.root / "home/person/ocr/scans/outbox/letter.md").exists()
    host.shell("systemctl stop person")
