"""`ocrd init`: a short configuration and its folders, checked: what there must be before a first scan is dropped."""

import importlib.util
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from ocrd.commands import check
from ocrd.config import example, loader
from ocrd.display import command, shown
from ocrd.errors import ConfigError, MachineError
from ocrd.storage import durable
from ocrd.storage.os_errors import machine_faults

ROLES = ("inbox", "outbox", "archive", "error")


def must_be_new(config: Path) -> None:
    """Raise MachineError if there is a configuration already."""
    if os.path.lexists(config):
        what = f"There is already a file {shown(config)}, and it stays as it is."
        raise MachineError(what, "Edit that, or give another path with -c.")


def usual_folder() -> Path:
    """Say where the folders are if nobody has a wish: for all people of a machine, or for one."""
    return Path("/srv/ocr") if os.geteuid() == 0 else Path.home() / "ocr"


def has_card() -> bool:
    """Whether this machine has a card of NVIDIA."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def run(config: Path, folders: Mapping[str, Path], *, gpu: bool) -> int:
    """Write the configuration, make the folders, and check it all; returns the exit code of `ocrd check`.

    `folders` are by role. Raises ConfigError for folders that can't be, MachineError if there is such a file already or
    something can't be made. What was made before that stays.
    """
    must_be_new(config)
    text = example.short({**_engine(gpu=gpu), "watches": [_watch(folders)]})
    [watch] = loader.parse(text, config).watches
    for role in ROLES:
        durable.make_folders(getattr(watch, role))
    durable.make_folders(config.absolute().parent)
    try:
        durable.write_new(config, text.encode(), tag="init")
    except FileExistsError:
        must_be_new(config)
    print(f"{shown(config)} is written:\n\n{text}")
    _tell_what_lies_in(watch.inbox)
    code = check.run(config)
    file, ocrd = shlex.quote(str(config)), command()
    if code:
        print(f"\nMend what is wrong, and look again: {ocrd} check -c {file}")
    else:
        print(f"\nNext: {ocrd} run -c {file}    (as a service of systemd: sudo {ocrd} service install -c {file})")
        print(f"Drop a scan into {shown(watch.inbox)}; its text comes to {shown(watch.outbox)}.")
    return code


def _watch(folders: Mapping[str, Path]) -> dict[str, str]:
    for folder in folders.values():
        if not str(folder).isprintable():
            raise ConfigError(
                f"{shown(folder)} has characters that a configuration can't hold.", "Give another folder."
            )
    return {"name": "scans"} | {role: str(folders[role].expanduser().absolute()) for role in ROLES}


def _engine(*, gpu: bool) -> dict[str, object]:
    """Choose the engine; what is the default is not written."""
    if gpu:
        return {}
    lacks = importlib.util.find_spec("tesserocr") is None and importlib.util.find_spec("rapidocr") is not None
    return {"engine": {"kind": "cpu"} | ({"cpu": {"letters": "rapidocr"}} if lacks else {})}


def _tell_what_lies_in(inbox: Path) -> None:
    with machine_faults("look into", inbox):
        count = sum(1 for _ in inbox.iterdir())
    if count:
        print(f"note: {shown(inbox)} is not empty. What lies in it will be read, and moved to the archive.\n")
