"""The image of the Containerfile, built and run by podman on a base that is made of this Debian's own packages.

Building asks no network: the base holds Debian's part already, and Python's comes from a folder of wheels. Both are
kept in `.container/` for the next time; `make clean` removes them. All of podman's own lies in one folder, which goes
at the end.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".container"
IMAGE = "ocr-inbox:cpu"
_BASE = "localhost/debian"
_COMPOSE = Path(sys.executable).with_name("podman-compose")
_PROGRAMS = {"podman": "podman", "runc": "runc", "catatonit": "catatonit", "mmdebstrap": "mmdebstrap"}
"""Debian's packages, by the program that is needed of each."""
_LEFT_OUT = ("doc", "locale", "man")
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{root}/images"
runroot = "{root}/run"
"""
_CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
tmp_dir = "{root}/libpod"
"""
"""What podman can do without systemd, and with limits that a root without all of its powers may set, too."""
_PIP = "[global]\nno-index = true\nfind-links = /wheels\n"


def why_not() -> str:
    """Say why no container can be made here; empty if one can be tried."""
    if os.geteuid() != 0:
        return "building a container's base needs root"
    for program, package in _PROGRAMS.items():
        if not shutil.which(program):
            return f"{program} is not installed (Debian: {package})"
    return "" if _COMPOSE.exists() else "podman-compose is not installed (PyPI: podman-compose)"


class Podman:
    """podman with a storage of its own, and the image in it."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="ocrd-podman-", dir="/var/tmp"))  # sockets want a short path
        (self._root / "storage.conf").write_text(_STORAGE.format(root=self._root))
        (self._root / "containers.conf").write_text(_CONTAINERS.format(root=self._root))
        (self._root / "pip.conf").write_text(_PIP)
        self._environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self._root / "storage.conf"),
            "CONTAINERS_CONF": str(self._root / "containers.conf"),
            "TMPDIR": str(self._root),
        }

    def run(self, *arguments: str | Path, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command of podman's."""
        return _run(["podman", *arguments], env=self._environment, check=check)

    def compose(self, folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Do with the compose.yaml of a folder as its owner would, with more environment."""
        return _run([_COMPOSE, *arguments], cwd=folder, env=self._environment | variables)

    def why_not(self) -> str:
        """Take the base in, and say why no container of it runs here; empty if one does."""
        self.run("import", "--quiet", _base(), _BASE)
        tried = self.run("run", "--rm", "--network", "none", _BASE, "true", check=False)
        return "" if tried.returncode == 0 else f"podman can't run a container here: {tried.stderr.strip()}"

    def build(self) -> None:
        """Build the target `cpu` as its owner would, but with our base, and wheels where pip looks."""
        shared = {_wheels(): "/wheels", self._root / "pip.conf": "/etc/pip.conf"}
        volumes = [f"--volume={outside}:{inside}:ro" for outside, inside in shared.items()]
        how = ["--network=none", "--layers=false", f"--build-arg=BASE={_BASE}", *volumes]
        self.run("build", *how, "--target=cpu", f"--tag={IMAGE}", ROOT)

    def close(self) -> None:
        """End all containers, and remove all that podman has kept."""
        self.run("rm", "--all", "--force", "--time=0")
        subprocess.run(["umount", "--lazy", self._root / "images/overlay"], capture_output=True, check=False)
        shutil.rmtree(self._root)


def _base() -> Path:
    """Make the smallest Debian with apt and Python, of this machine's own release and sources, or find it."""
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    kept = KEPT / f"{suite}.tar"
    if not kept.exists():
        KEPT.mkdir(exist_ok=True)
        part = kept.with_suffix(".part.tar")
        less = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
        offline = '--customize-hook=rm "$1/etc/apt/sources.list"'
        what = ["--variant=apt", "--include=python3,python3-venv", "--dpkgopt=force-unsafe-io", *less, offline]
        _run(["mmdebstrap", "--quiet", *what, suite, part])
        part.rename(kept)
    return kept


def _wheels() -> Path:
    """Make wheels for Debian's Python of all that the image wants, or find them."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    kept = KEPT / f"wheels-{digest[:12]}"
    if not kept.exists():
        for old in KEPT.glob("wheels-*"):
            shutil.rmtree(old)
        part = KEPT / f"wheels-part-{os.getpid()}"
        pip = [sys.executable, "-m", "pip", "--python", "/usr/bin/python3", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "wheel", "--wheel-dir", part, f"{ROOT}[cpu,openai]", "hatchling"])
        part.rename(kept)
    return kept


def _run(
    command: list[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=900,
        check=False,
    )
    assert done.returncode == 0 or not check, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done
