"""The life of a worker process: one call after the other, from a socket that its daemon holds. See `worker_pool`."""

import io
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ocrd.concurrency.processes import die_with_parent, give_back_memory, keep_little_memory

R = TypeVar("R")

_LENGTH = struct.Struct("!Q")
_CHUNK = 1 << 20
_PAUSE = 0.02
"""Seconds without a call after which a worker gives back the memory that it does not use."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is told before its first call."""

    memory: int
    """Bytes of address space that it may have."""
    prepare: Callable[..., None] | None
    """Picklable; called once before the first call, with the files that the worker was given."""


class Channel:
    """Pickled messages over a stream socket; if that has a timeout, `look` is called whenever nothing moves so long."""

    def __init__(self, sock: socket.socket, look: Callable[[], None] = lambda: None) -> None:
        self._socket = sock
        self._look = look

    def send(self, message: object, file: int | None = None) -> None:
        """Send one message, and an open file with it, if need be, for `receive_file`.

        Raises what pickle does before anything is sent, OSError if the other side is gone.
        """
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        for part in (_LENGTH.pack(len(data)), data):
            rest = memoryview(part)
            while rest:
                rest = rest[self._moved(partial(self._socket.send, rest)) :]
        if file is not None:
            self._moved(partial(socket.send_fds, self._socket, [b"\0"], [file]))

    def receive_file(self) -> int:
        """Wait for the file that comes with a message. Raises EOFError or OSError if the other side is gone."""
        _, files, *_ = self._moved(partial(socket.recv_fds, self._socket, 1, 1))
        if not files:
            raise EOFError
        return files[0]

    def hears_within(self, seconds: float) -> bool:
        """Wait for a message, but only so long, and return whether one comes."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def receive(self) -> Any:  # noqa: ANN401 - whatever was sent
        """Wait for one message. Raises EOFError or OSError if the other side is gone."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        return pickle.loads(self._read(length))  # noqa: S301 - from a process of ours that runs our code

    def _read(self, length: int) -> bytearray:
        data = bytearray(length)
        rest = memoryview(data)
        while rest:
            count = self._moved(partial(self._socket.recv_into, rest[:_CHUNK]))
            if count == 0:
                raise EOFError
            rest = rest[count:]
        return data

    def _moved(self, move: Callable[[], R]) -> R:
        """Do something with the socket, as soon as it can be done."""
        while True:
            try:
                return move()
            except TimeoutError:
                self._look()


def live(parent: int, descriptor: int, *files: int) -> None:
    """Work until the daemon is gone, which has the other end of the socket, or the process that started this one.

    The first message is the `Setup`, each other one a function, its arguments, and whether a pipe comes with it that is
    the last of these.
    """
    _die_with(parent)
    channel = Channel(socket.socket(fileno=descriptor))
    setup: Setup = channel.receive()
    _confine(setup)
    if setup.prepare:
        setup.prepare(*files)
    channel.send(None)
    with suppress(EOFError):  # the daemon is gone
        while True:
            _send(channel, *_called(channel))
            if not channel.hears_within(_PAUSE):
                give_back_memory()  # a page leaves some thirty MB of it


def _called(channel: Channel) -> tuple[bool, Any]:
    """Call what is asked for; returns whether it came to its end, and what it returned or raised. Raises EOFError."""
    try:
        function, arguments, piped = channel.receive()
        if not piped:
            return True, function(*arguments)
        with open(channel.receive_file(), "wb") as pipe:
            return True, function(*arguments, pipe)
    except EOFError:
        raise
    except MemoryError:
        return False, MemoryError()  # without what its traceback holds
    except Exception as error:  # noqa: BLE001 - raised again in the daemon
        error.add_note("".join(traceback.format_exception(error)))
        return False, error.with_traceback(None)


def _send(channel: Channel, good: bool, answer: object) -> None:  # noqa: FBT001 - as `_called` returns it
    try:
        channel.send((good, answer))
    except ConnectionError as error:
        raise EOFError from error
    except MemoryError:
        channel.send((False, MemoryError()))
    except Exception as error:  # noqa: BLE001 - it can't be pickled
        channel.send((False, RuntimeError(f"{type(answer).__name__} can't be sent: {error}")))


def _die_with(parent: int) -> None:
    die_with_parent()
    if os.getppid() != parent:  # it died before the call above
        os.kill(os.getpid(), signal.SIGKILL)


class _Heedless(io.FileIO):
    """A stream on which what can't be written is lost: a library's warning is no reason to fail a page."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - as the class above has it
        try:
            return super().write(data) or 0
        except OSError:  # a file, to which a worker may write nothing, a full disk, a pipe that nobody reads
            return len(data)


def _print_heedlessly() -> None:
    streams = (_Heedless(number, "w", closefd=False) for number in (1, 2))
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(stream, "utf-8", "backslashreplace", write_through=True) for stream in streams
    )


def _confine(setup: Setup) -> None:
    """Limit this worker before it sees a file."""
    _print_heedlessly()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to handle
    keep_little_memory()
    resource.setrlimit(resource.RLIMIT_AS, (setup.memory, setup.memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
