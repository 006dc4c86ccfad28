"""A machine of its own with a real systemd as its first process, made of namespaces and an overlay of this one's files.

What happens in it stays in it: its root is an overlay whose changes lie in memory, and it has its own /run and /tmp
(systemd empties /tmp when it boots), processes, host name and control groups.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")

_MOUNTS = """
set -e
mount -t tmpfs machine "$BASE"
mkdir "$BASE/upper" "$BASE/work" "$BASE/root" "$BASE/cgroup"
mount -t overlay machine -o "lowerdir=/,upperdir=$BASE/upper,workdir=$BASE/work" "$BASE/root"
[ -z "$SYSTEMD_FILES" ] || cp -a --no-clobber "$SYSTEMD_FILES/." "$BASE/root/"
mount -t cgroup2 machine "$BASE/cgroup"
mkdir "$BASE/cgroup/$NAME"
echo $$ > "$BASE/cgroup/$NAME/cgroup.procs"
exec unshare --pid --fork --kill-child --uts --ipc --cgroup --mount bash -c "$INIT"
"""
_INIT = """
set -e
cd "$BASE/root"
hostname ocrd-machine
mount -t proc proc proc
mount -t tmpfs machine run
mount -t tmpfs machine tmp
mount --rbind /dev dev
while IFS=$'\t' read -r how from to; do
  [ -n "$how" ] || continue
  [ -e "./$to" ] || mkdir -p "./$to"
  mount --rbind "$from" "./$to"
  [ "$how" = rw ] || mount -o "remount,bind,$how" "./$to"
done <<< "$BINDS"
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
echo 00000000000000000000000000000001 > etc/machine-id
rm -rf etc/systemd/system/*.wants var/log/journal
mount --make-rshared .  # outside of a container systemd does so itself: a unit's credentials are mounted for it
exec env -i container=ocrd-machine PATH="$PATH" chroot . /lib/systemd/systemd --system --unit=basic.target
"""

_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_CLEAN = """
mount -t cgroup2 machine "$BASE"
while grep -q "populated 1" "$BASE/$NAME/cgroup.events"; do sleep 0.05; done
find "$BASE/$NAME" -depth -type d -exec rmdir {} +
"""


def why_not() -> str:
    """Say why no such machine can be made here; empty if it can."""
    if os.geteuid() != 0:
        return "a machine of namespaces needs root"
    for program in ("unshare", "nsenter", "setpriv", "mount", "systemctl", "journalctl"):
        if not shutil.which(program):
            return f"{program} is not installed (Debian: systemd, util-linux)"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "namespaces can't be made here"


class Machine:
    """Booted by `start`; gone without a trace after `close`."""

    def __init__(
        self,
        base: Path,
        systemd: Path | None = None,
        binds: dict[Path, str] | None = None,
        views: dict[Path, str] | None = None,
    ) -> None:
        """Take an empty folder; a copy of systemd's files, if there is none here; and what is seen inside elsewhere.

        `binds` may be written to from inside, `views` may not.
        """
        mounts = [("rw", *each) for each in (binds or {}).items()] + [("ro", *each) for each in (views or {}).items()]
        self.base = base
        self._environment = {
            **os.environ,
            "BASE": str(base),
            "NAME": f"ocrd-machine-{os.getpid()}",
            "INIT": _INIT,
            "SYSTEMD_FILES": str(systemd or ""),
            "BINDS": "\n".join(f"{how}\t{outside}\t{inside}" for how, outside, inside in mounts),
        }
        self._outside: subprocess.Popen[bytes] | None = None
        self._init = 0

    @property
    def root(self) -> Path:
        """The machine's file system, as seen from here."""
        return Path(f"/proc/{self._init}/root")

    def start(self) -> None:
        """Boot, until its first process answers."""
        with (self.base.parent / "machine.log").open("wb") as log:
            self._outside = subprocess.Popen(
                [*_DIE_WITH_US, "unshare", "--mount", "--propagation", "private", "bash", "-c", _MOUNTS],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait(self._find_init)
        self.wait(lambda: self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"))

    def _find_init(self) -> bool:
        """Find the machine's first process: the child of the outer one, once it has become systemd."""
        outside = self._outside.pid if self._outside else 0
        for child in Path(f"/proc/{outside}/task/{outside}/children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    self._init = int(child)
        return self._init != 0

    def open_ways_to(self, *places: Path) -> None:
        """Let every user pass through the folders above: in this machine only."""
        for place in places:
            for folder in (place, *place.parents):
                inside = self.root / str(folder.resolve()).lstrip("/")
                inside.chmod(inside.stat().st_mode | 0o055)

    def run(self, *command: str | Path, check: bool = False) -> "subprocess.CompletedProcess[str]":
        """Run a program inside, as root."""
        enter = ["nsenter", "-t", str(self._init), "-m", "-p", "-u", "-i", "-C", "-r", "-w"]
        told = subprocess.run([*enter, *command], capture_output=True, text=True, timeout=600, check=False)
        if check and told.returncode:
            raise AssertionError(f"{command} ended with {told.returncode}:\n{told.stdout}{told.stderr}")
        return told

    def shell(self, script: str) -> str:
        """Run a shell script inside, and return what it printed."""
        return self.run("bash", "-ec", script, check=True).stdout

    def wait(self, condition: Callable[[], object], seconds: float = 120) -> float:
        """Wait until something holds; returns after how many seconds it did."""
        began = time.monotonic()
        while not condition():
            if self._outside and self._outside.poll() is not None:
                log = (self.base.parent / "machine.log").read_text()
                raise AssertionError(f"the machine ended with {self._outside.returncode}:\n{log}")
            assert time.monotonic() < began + seconds, "it did not happen in time"
            time.sleep(0.02)
        return time.monotonic() - began

    def close(self) -> None:
        """Switch it off; its file systems go with its last process."""
        if self._outside:
            self._outside.kill()  # its child, the first process inside, dies with it, and all the others with that
            self._outside.wait()
            subprocess.run(
                ["unshare", "--mount", "--propagation", "private", "bash", "-ec", _CLEAN],
                env=self._environment,
                timeout=120,
                check=True,
            )
