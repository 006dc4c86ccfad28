"""`ocrd service install` and `uninstall`: the shipped unit, made to fit this configuration and this installation.

A plan comes first, and is shown. It is the same plan again after it was carried out, with nothing left to do. Each file
that is written says so in its first line, with a checksum: one that somebody edited is never overwritten or deleted.
"""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from ocrd.commands.shipped import shipped
from ocrd.config.schema import Config
from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import ConfigError, MachineError
from ocrd.storage.os_errors import machine_faults

_MARK = "# Written by `ocrd service install`; edit it as you like, an edited file is left alone. sha256:"
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_NO_SYSTEMD = "`ocrd run -c FILE` needs no systemd: let the service manager of this machine start that."
_FOR_SYSTEM_ONLY = (
    "User", "Group", "Slice", "CapabilityBoundingSet", "AmbientCapabilities", "DevicePolicy", "DeviceAllow",
    "ReadWritePaths", "ProtectSystem", "ProtectHome", "PrivateTmp", "ProtectProc", "ProtectClock",
    "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
    "PrivateIPC", "Wants", "After", "RequiresMountsFor", "Environment",
)  # fmt: skip
"""What a user's own service manager can't do: it has no privileges to give up."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    text: str
    """What it is, for the owner."""
    do: Callable[[], None]
    """Does it. Raises MachineError."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an installation, or its end, comes to."""

    steps: tuple[Step, ...]
    """To be done, in this order."""
    notes: tuple[str, ...]
    """What the owner should know, and nothing will be done about."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service's files go: into the system, or to one user."""

    user: bool
    """For one user's service manager."""
    root: Path = Path("/")
    """The root of the file system."""
    home: Path = field(default_factory=Path.home)
    """The user's home."""

    @property
    def units(self) -> Path:
        return self.home / ".config/systemd/user" if self.user else self.root / "etc/systemd/system"

    @property
    def systemctl(self) -> tuple[str, ...]:
        return ("systemctl", "--user") if self.user else ("systemctl",)


def install(config: Config, path: Path, place: Place) -> Plan:
    """Plan an installation for a configuration and the file that it came from. Raises ConfigError."""
    if place.user:
        files = {place.units / "ocrd.service": unit(config, path, place)}
        folders: list[Path] = []
    else:
        files = {
            place.units / "ocrd.service": unit(config, path, place),
            place.units / "ocrd.slice": shipped("systemd/ocrd.slice"),
            place.root / "etc/sysusers.d/ocrd.conf": shipped("systemd/sysusers.d/ocrd.conf"),
            place.root / "usr/local/lib/systemd/catalog/ocrd.catalog": shipped("systemd/ocrd.catalog"),
        }
        folders = [folder for folder in roots(config) if _is_new(_within(place.root, folder))]
    steps, notes = [], list(_warnings(config, path, place))
    for target, text in files.items():
        step, note = _file(target, text)
        steps += step
        notes += note
    steps += _commands(steps, folders, place)
    return Plan(tuple(steps), tuple(notes))


def carry_out(plan: Plan, place: Place, *, dry_run: bool, sure: Callable[[], None] | None) -> None:
    """Print a plan and do it, unless this is a dry run; `sure` is called before, and may raise.

    Raises MachineError where a step fails, or who runs this may not do it.
    """
    for step in plan.steps:
        print(f"  - {step.text}")
    for note in plan.notes:
        print(f"note: {note}")
    if not plan.steps:
        print("There is nothing to do.")
    elif not dry_run:
        if not place.user and os.geteuid():
            raise MachineError("This changes the system, and needs root.", "Run it with sudo, or with --user.")
        if sure:
            sure()
        for step in plan.steps:
            step.do()
        print("Done.")


def _commands(files: list[Step], folders: list[Path], place: Place) -> Iterator[Step]:
    """Yield what follows once the files are there."""
    if files and not place.user:
        yield _command("create the user ocrd", "systemd-sysusers", "ocrd.conf")
        yield _command("let journalctl -x explain ocrd's messages", "journalctl", "--update-catalog")
    for folder in folders:
        yield Step(f"make {folder} a folder of the group ocrd", lambda folder=folder: _make(folder))  # type: ignore[misc]
    if files:
        yield _command("tell systemd of the changes", *place.systemctl, "daemon-reload")
    if files or not _answers(*place.systemctl, "is-active", "ocrd"):
        when = "login" if place.user else "boot"
        yield _command(
            f"start the service, now and at each {when}", *place.systemctl, "enable", "--now", "ocrd.service"
        )


def uninstall(place: Place) -> Plan:
    """Plan the end of an installation. Configuration, folders, models and the user stay."""
    files = [place.units / "ocrd.service", place.units / "ocrd.slice"]
    if not place.user:
        files += [
            place.root / "etc/sysusers.d/ocrd.conf",
            place.root / "usr/local/lib/systemd/catalog/ocrd.catalog",
        ]
    there = [file for file in files if file.exists()]
    ours = [file for file in there if _unedited(file.read_text())]
    steps = []
    if there:
        steps.append(_command("stop the service, for good", *place.systemctl, "disable", "--now", "ocrd.service"))
    steps += [Step(f"delete {file}", lambda file=file: _delete(file)) for file in ours]  # type: ignore[misc]
    if ours:
        steps.append(_command("tell systemd of the changes", *place.systemctl, "daemon-reload"))
    notes = [f"{file} was edited, and stays" for file in there if file not in ours]
    kept = "and ~/.cache/ocrd, stay" if place.user else "/var/lib/ocrd, /var/cache/ocrd and the user ocrd stay"
    notes.append(f"configuration, folders and their files, {kept}")
    return Plan(tuple(steps), tuple(notes))


def unit(config: Config, path: Path, place: Place) -> str:
    """Make the shipped unit fit. Raises ConfigError."""
    settings = {
        "ExecStart": f"{_program()} run -c {_quoted(str(path.absolute()))}",
        "RequiresMountsFor": " ".join(_quoted(str(folder)) for folder in roots(config)),
        "ReadWritePaths": " ".join(_quoted(f"-{folder}") for folder in roots(config)),
    }
    if any(_in_a_home(one) for one in (*roots(config), path.absolute(), Path(sys.prefix), Path(sys.base_prefix))):
        settings["ProtectHome"] = "read-only"
    if place.user:
        settings |= {"EnvironmentFile": "-%E/ocrd/environment", "WantedBy": "default.target"}
    lines = []
    for line in _without(_FOR_SYSTEM_ONLY if place.user else (), shipped("systemd/ocrd.service").splitlines()):
        key = line.partition("=")[0]
        lines.append(f"{key}={settings[key]}" if key in settings else line)
    return "\n".join(lines) + "\n"


def _without(keys: tuple[str, ...], lines: list[str]) -> Iterator[str]:
    """Leave settings out, and the comments right above them."""
    comments: list[str] = []
    for line in lines:
        if line.startswith("#"):
            comments.append(line)
            continue
        if line.partition("=")[0] not in keys:
            yield from (*comments, line)
        comments = []
    yield from comments


def roots(config: Config) -> list[Path]:
    """List the folders that must be open for writing: for each watch one parent, so that claims stay renames."""
    found: set[Path] = set()
    for watch in config.watches:
        found |= _roots_of(watch)
    return sorted(one for one in found if not any(one != other and one.is_relative_to(other) for other in found))


def _roots_of(watch: Watch) -> set[Path]:
    renamed = [watch.inbox, watch.work_folder, watch.archive]
    every = [*renamed, watch.outbox, watch.error]
    common = Path(os.path.commonpath(every))
    if len(common.parts) > 2:  # noqa: PLR2004 - more than /srv: a folder that is ocrd's own
        return {common}
    near = Path(os.path.commonpath(renamed))
    return {near if len(near.parts) > 2 else watch.inbox.parent, watch.archive, watch.outbox, watch.error}  # noqa: PLR2004


def _in_a_home(path: Path) -> bool:
    return any(path.is_relative_to(home) for home in _HOMES)


def _program() -> str:
    script = Path(sys.executable).with_name("ocrd")
    return _quoted(str(script)) if script.exists() else f"{_quoted(sys.executable)} -m ocrd"


def _quoted(text: str) -> str:
    """Spell a path for a unit: systemd.syntax(7), and specifiers are not meant. Raises ConfigError."""
    if not text.isprintable():
        raise ConfigError(f"{shown(text)} has characters that a unit of systemd can't hold.", "Rename it, or move it.")
    text = text.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{text}"' if re.search(r"[\s\"']", text) else text


def _within(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _warnings(config: Config, path: Path, place: Place) -> Iterator[str]:
    if place.user:
        yield "to run also while you are logged out: loginctl enable-linger"
        return
    needed = (path.absolute(), Path(sys.executable), Path(sys.base_prefix))
    within = {one: (one, *one.resolve().parents) for one in needed}
    within |= {one: tuple(one.parents) for one in (_within(place.root, folder) for folder in roots(config))}
    for one, on_the_way in within.items():
        closed = [folder for folder in on_the_way if folder.exists() and not folder.stat().st_mode & 0o005]
        if closed:
            yield f"the user ocrd can't reach {one}, since {closed[-1]} is closed to others; chmod o+rx, or move it"


# -- one file, one command ------------------------------------------------------------------------------------------


def _file(target: Path, text: str) -> tuple[list[Step], list[str]]:
    """Plan the writing of one file, beside one that was edited."""
    marked = f"{_MARK}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"
    there = target.read_text() if target.exists() else None
    if there == marked:
        return [], []
    if there is None:
        return [Step(f"write {target}", lambda: _write(target, marked))], []
    if _unedited(there):
        return [Step(f"replace {target}, which nobody edited", lambda: _write(target, marked))], []
    beside = target.with_name(target.name + ".new")
    if beside.exists() and beside.read_text() == marked:
        return [], [f"{target} was edited, and stays; what would be there now lies in {beside}"]
    return [Step(f"leave {target}, which was edited, and write {beside}", lambda: _write(beside, marked))], []


def _unedited(text: str) -> bool:
    first, _, rest = text.partition("\n")
    return first == f"{_MARK}{hashlib.sha256(rest.encode()).hexdigest()}"


def _write(target: Path, text: str) -> None:
    with machine_faults("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.ocrd")
        part.write_text(text)
        part.chmod(0o644)
        part.rename(target)


def _is_new(folder: Path) -> bool:
    """Whether a folder is not there, or as `ocrd init` made it for root: nothing in it but folders of root."""
    inside = chain([folder], folder.rglob("*")) if folder.exists() else ()
    return all(stat.S_ISDIR(one.st_mode) and one.st_uid == one.st_gid == 0 for one in map(os.lstat, inside))


def _make(folder: Path) -> None:
    with machine_faults("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in reversed((folder, *folder.rglob("*"))):  # a folder is root's until all in it is given
            shutil.chown(path, "ocrd", "ocrd")
            path.chmod(0o2775)


def _delete(file: Path) -> None:
    with machine_faults("delete", file):
        file.unlink()


def _command(text: str, *command: str) -> Step:
    def run() -> None:
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - named here
        except FileNotFoundError as error:
            raise MachineError(f"There is no {command[0]} on this machine.", _NO_SYSTEMD) from error
        if ended.returncode:
            raise MachineError(
                f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr.strip()}",
                "Mend that, and install again: what is done stays done.",
            )

    return Step(f"{text}: {' '.join(command)}", run)


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - named here
    except OSError:
        return False
