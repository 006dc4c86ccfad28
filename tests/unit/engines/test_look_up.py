"""A name server that is silent holds up the servers whose names it is asked for, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

_SILENT = """
import asyncio, os, socket, subprocess, sys, time
from pathlib import Path

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for name, text in (("resolv.conf", "nameserver 127.0.0.1\\noptions timeout:30 attempts:5\\n"),
                   ("nsswitch.conf", "hosts: files dns\\n")):
    own = Path(sys.argv[1], name)
    own.write_text(text)
    subprocess.run(["mount", "--bind", own, Path("/etc", name).resolve()], check=True)
silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 53))

from ocrd.engines.openai import address, client
from ocrd.engines.openai.faults import Lost

client.CONNECT_SECONDS = address.LOOK_UP_SECONDS = 1.0

async def life():
    nowhere = address.parse("http://nowhere.example:8000/v1")
    pool = min(32, (os.cpu_count() or 1) + 4)  # threads of asyncio.to_thread
    clients = [client.Client(nowhere, "") for _ in range(pool + 1)]
    began = time.monotonic()
    ends = await asyncio.gather(*(one.models() for one in clients for _ in range(3)), return_exceptions=True)
    assert all(isinstance(end, Lost) for end in ends), ends
    assert "its name was not looked up within 1 s" in str(ends[0]), ends[0]
    assert not await nowhere.is_open_to_the_world()
    assert time.monotonic() - began < 100, "each question has its limit"
    await asyncio.wait_for(asyncio.to_thread(int), 100)
    for one in clients:
        await one.close()

asyncio.run(life())
silent.settimeout(1)
silent.recv(512)  # it was asked
"""


def test_a_silent_name_server_holds_up_neither_other_work_nor_the_end(tmp_path: Path) -> None:
    """Its patience is 150 seconds for each question; in namespaces of its own, where nobody else asks it."""
    apart = ["unshare", "--net", "--mount"]
    tried = subprocess.run([*apart, "sh", "-c", "ip link set lo up"], check=False, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"there can be no namespace of the network here: {tried.stderr.strip()}")
    command = [*apart, sys.executable, "-c", _SILENT, tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=140)
    assert done.returncode == 0, done.stderr
