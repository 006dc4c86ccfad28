"""CUDA MPS: lets the kernels of several processes run on one card at the same time, instead of by turns.

A control daemon of NVIDIA's, reached through a folder of pipes, lets processes in that name this folder in their
environment. One that runs already is used as it is. Otherwise one is started in a folder of its own, and a guardian
(this module, run as a program) ends it when this process ends in whatever way.
"""

# ruff: noqa: S603 - it runs NVIDIA's program, found on the search path, and this module
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from ocrd.concurrency import processes

PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
"""Environment variables of CUDA's."""

USUAL_PIPES = "/tmp/nvidia-mps"  # noqa: S108 - NVIDIA's own default
PROGRAM = "nvidia-cuda-mps-control"
PLACES = "/usr/local/nvidia/bin:/usr/bin"
"""Where it lies when the search path does not name it."""

SECONDS = 20.0
"""How long the control daemon may take to start, to answer or to end."""


class NoMps(Exception):  # noqa: N818 - what it says
    """MPS can't run here; the text says why, as the end of a sentence."""


class Mps:
    """A control daemon that answers. Its methods block for up to `SECONDS`."""

    def __init__(self, program: str, pipes: Path, guardian: "subprocess.Popen[str] | None" = None) -> None:
        self._program, self._pipes, self._guardian = program, pipes, guardian

    @property
    def environment(self) -> dict[str, str]:
        """What the processes that share the card need in their environment, beside what is in this one's."""
        return {PIPES: str(self._pipes)} if self._guardian else {}

    def answers(self) -> bool:
        """Whether it still runs."""
        return _ask(self._program, self._pipes, "get_server_list")

    def close(self) -> None:
        """End it, if this process started it; its folder goes with it."""
        if self._guardian is None or self._guardian.stdin is None or self._guardian.stdout is None:
            return
        self._guardian.stdin.close()
        self._guardian.stdout.close()
        try:
            self._guardian.wait(3 * SECONDS)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()


def find_program() -> str | None:
    """Return the path of the control daemon's program."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path=PLACES)


def begin(folder: Path) -> Mps:
    """Return the control daemon that runs here already, or start one with its pipes in `folder`. Raises NoMps."""
    program = find_program()
    if program is None:
        raise NoMps(f"the program {PROGRAM} is not there")
    pipes = Path(os.environ.get(PIPES, USUAL_PIPES))
    if pipes.is_dir() and _ask(program, pipes, "get_server_list"):
        return Mps(program, pipes)
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "ocrd.engines.vllm.mps", program, str(folder)]
    guardian = subprocess.Popen(  # its standard input ends with this process
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    mps = Mps(program, folder, guardian)
    said = ""
    if guardian.stdout and select.select([guardian.stdout], [], [], 3 * SECONDS)[0]:
        said = guardian.stdout.readline().strip()
    if said == "started" and mps.answers():
        return mps
    mps.close()
    raise NoMps(f"{PROGRAM} does not start: {said or 'it says nothing'}")


def _ask(program: str, pipes: Path, command: str) -> bool:
    """Give the control daemon a command; tell whether it took it."""
    try:
        done = subprocess.run(
            [program],
            input=f"{command}\n",
            env=os.environ | {PIPES: str(pipes)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "Cannot find" not in done.stdout + done.stderr


def _processes(pipes: Path) -> list[int]:
    """List the control daemon and the servers that belong to a folder of pipes."""
    setting, found = os.fsencode(f"{PIPES}={pipes}"), []
    for process in processes.running():
        with contextlib.suppress(OSError):
            folder = Path(f"/proc/{process.pid}")
            if (folder / "comm").read_text().startswith("nvidia-cuda-mps") and setting in (
                folder / "environ"
            ).read_bytes().split(b"\0"):
                found.append(process.pid)
    return found


def guard(program: str, pipes: Path) -> None:
    """Start the control daemon, say `started` or what went wrong, and end it once standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends by its input, after all that share the card
    environment = os.environ | {PIPES: str(pipes), LOGS: str(pipes), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)  # of these the server would make numbers of its own
    log = pipes / "ocrd.log"
    try:
        with log.open("w") as file:
            done = subprocess.run(
                [program, "-d"], env=environment, stdout=file, stderr=file, timeout=SECONDS, check=False
            )
        said = "started" if done.returncode == 0 else " ".join(log.read_text(errors="replace").split())
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    print(said or f"exit code {done.returncode}", flush=True)
    sys.stdin.read()
    _ask(program, pipes, "quit")
    for pid in _processes(pipes):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(pipes, ignore_errors=True)


if __name__ == "__main__":
    guard(sys.argv[1], Path(sys.argv[2]))
