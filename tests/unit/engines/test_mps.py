"""CUDA MPS, with a program that behaves like NVIDIA's: it runs in the background, and answers in a folder of pipes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocrd.concurrency import processes
from ocrd.engines.vllm import mps

CONTROL = """\
#!/bin/bash
pid="$CUDA_MPS_PIPE_DIRECTORY/control.pid"
case "$1" in
  -d) [ -e "$CUDA_MPS_PIPE_DIRECTORY/../broken" ] && { echo "no card takes part"; exit 1; }
      "$0" --serve & echo $! > "$pid" ;;
  --serve) until [ -s "$pid" ]; do sleep 0.01; done; while [ -e "$pid" ]; do sleep 0.05; done ;;
  *) read -r command
     kill -0 "$(cat "$pid" 2>/dev/null)" 2>/dev/null || { echo "Cannot find MPS control daemon process"; exit 1; }
     [ "$command" = quit ] && rm "$pid"; exit 0 ;;
esac
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    program = tmp_path / "bin" / mps.PROGRAM
    program.parent.mkdir()
    program.write_text(CONTROL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.delenv(mps.PIPES, raising=False)
    monkeypatch.setattr(mps, "USUAL_PIPES", str(tmp_path / "none"))
    yield program
    for pid in mps._processes(tmp_path / "pipes"):
        os.kill(pid, signal.SIGKILL)


def control_of(pipes: Path) -> int:
    """Return its process; the programs that its script begins have its name, too, for a moment."""
    return int((pipes / "control.pid").read_text())


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.usefixtures("program")
def test_it_is_started_in_its_own_folder_and_ended_with_all_that_is_in_it(tmp_path: Path) -> None:
    pipes = tmp_path / "pipes"
    sharing = mps.begin(pipes)
    assert sharing.environment == {"CUDA_MPS_PIPE_DIRECTORY": str(pipes)}
    assert sharing.answers()
    assert control_of(pipes) in mps._processes(pipes)
    sharing.close()
    until(lambda: mps._processes(pipes) == [])
    assert not pipes.exists()


@pytest.mark.usefixtures("program")
def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    pipes = tmp_path / "pipes"
    program = "import sys; from pathlib import Path; from ocrd.engines.vllm import mps; \
mps.USUAL_PIPES = '/none'; it = mps.begin(Path(sys.argv[1])); print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, pipes], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"up\n"
        control = control_of(pipes)
        daemon.kill()
    until(lambda: processes.started(control) == processes.GONE and not pipes.exists())


@pytest.mark.usefixtures("program")
def test_one_that_died_no_longer_answers(tmp_path: Path) -> None:
    sharing = mps.begin(tmp_path / "pipes")
    control = control_of(tmp_path / "pipes")
    os.kill(control, signal.SIGKILL)
    until(lambda: not sharing.answers())
    sharing.close()


def test_one_that_runs_already_is_used_and_left_alone(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipes = tmp_path / "pipes"
    pipes.mkdir()
    monkeypatch.setenv(mps.PIPES, str(pipes))
    subprocess.run([program, "-d"], check=True, timeout=120)
    sharing = mps.begin(tmp_path / "ours")
    assert sharing.environment == {}, "the owner's own variable stays as it is"
    sharing.close()
    assert sharing.answers()
    assert not (tmp_path / "ours").exists()


@pytest.mark.usefixtures("program")
def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(mps.NoMps, match="no card takes part"):
        mps.begin(tmp_path / "pipes")


def test_a_machine_without_it_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mps, "PLACES", str(tmp_path))
    with pytest.raises(mps.NoMps, match="nvidia-cuda-mps-control is not there"):
        mps.begin(tmp_path / "pipes")
