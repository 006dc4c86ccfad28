"""ocrd as others have it: a wheel of it, in an environment that knows nothing of this checkout."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """Build the sdist, and out of that the wheel; return the wheel's path in the folder."""
    _run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], cwd=ROOT)
    [sdist] = folder.glob("ocr_inbox-*.tar.gz")
    _run(["tar", "-xf", sdist, "-C", folder])
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=unpacked)
    [wheel] = folder.glob("ocr_inbox-*.whl")
    return wheel


class Environment:
    """A virtual environment of its own, without pip, in which wheels are installed without what they need."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.python = root / "bin/python"
        _run([sys.executable, "-m", "venv", "--without-pip", root])
        [self.site] = root.glob("lib/python*/site-packages")

    def install(self, *wheels: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.python, "--quiet", "--disable-pip-version-check"]
        for wheel in wheels:
            _run([*pip, "install", "--no-index", "--no-deps", wheel])

    def lend(self, *folders: str | Path) -> None:
        """Let it see what is installed elsewhere too: in these folders, or where the tests themselves run."""
        ours = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
        (self.site / "lent.pth").write_text("".join(f"{folder}\n" for folder in folders or sorted(ours)))

    def run(self, *command: str | Path, cwd: Path | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of it, in the root of the file system unless told otherwise."""
        return subprocess.run(
            [self.root / "bin" / command[0], *command[1:]],
            cwd=cwd or "/",
            env={"PATH": os.defpath, "HOME": str(self.root), "LANG": "C.UTF-8", **more},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )


def wheel_of(path: Path, files: dict[str, str], commands: dict[str, str], version: str) -> Path:
    """Make a wheel of the distribution `ocrd` with these files and commands."""
    wheel = path / f"ocrd-{version}-py3-none-any.whl"
    facts = f"ocrd-{version}.dist-info"
    points = "".join(f"{name} = {place}\n" for name, place in commands.items())
    everything = files | {
        f"{facts}/METADATA": f"Metadata-Version: 2.1\nName: ocrd\nVersion: {version}\n",
        f"{facts}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{facts}/entry_points.txt": f"[console_scripts]\n{points}",
    }
    record = "".join(f"{name},,\n" for name in (*everything, f"{facts}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (everything | {f"{facts}/RECORD": record}).items():
            archive.writestr(name, text)
    return wheel


def _run(command: list[str | Path], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
