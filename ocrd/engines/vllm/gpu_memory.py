"""How much of the card's memory is taken, and how much of it by the engine: asked of NVML, the driver's own library.

The driver is asked in a thread that nobody waits for: one that hangs holds up neither pages nor a stop. What it said is
told only while it is fresh. Where there is no driver there is nothing to tell.
"""

import ctypes
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two questions."""
FRESH = 3 * EVERY
"""Seconds for which an answer counts."""

PATIENCE = 30.0
"""Seconds that the driver may take to a single question; the first one wakes the cards."""

_MANY = 512
"""Processes on one card that are listed; there are never so many."""
_LONGEST = 96
"""Bytes of the longest name (nvml.h, NVML_DEVICE_NAME_V2_BUFFER_SIZE)."""
_UNKNOWN = 2**64 - 1
"""What NVML says where it can't know the memory of a process, as on a part of a card (MIG)."""


@dataclass(frozen=True, slots=True)
class CardMemory:
    """The memory of the card, or the cards, that the engine is on."""

    engine: int | None
    """Bytes held by the engine's processes; None where the driver does not name them, as in some containers."""
    used: int
    """Bytes in use by anyone."""
    total: int
    """Bytes that there are."""


@dataclass(frozen=True, slots=True)
class CardProperties:
    """A card."""

    name: str
    total: int
    """Bytes of memory."""
    free: int
    """Bytes of memory that nobody holds."""
    capability: tuple[int, int]
    """Its compute capability."""


@dataclass(frozen=True, slots=True)
class Driver:
    """The driver."""

    version: str
    newest: tuple[int, int]
    """The newest version of CUDA that it runs."""


class NoAnswer(Exception):  # noqa: N818 - what it says
    """NVML could not tell; `code` is what it gave instead, where it gave one."""

    def __init__(self, what: str, code: int = 0) -> None:
        super().__init__(what)
        self.code = code


class _Memory(ctypes.Structure):
    """Of nvml.h, `nvmlMemory_t`."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Process(ctypes.Structure):
    """Of nvml.h, `nvmlProcessInfo_v2_t`."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class Nvml:
    """The driver's library, opened."""

    def __init__(self, library: Any) -> None:  # noqa: ANN401 - what ctypes loads has no type
        """Take the loaded library. Raises NoAnswer if the driver behind it does not answer."""
        self._library = library
        self._ask("nvmlInit_v2")

    def _ask(self, name: str, *arguments: object) -> None:
        try:
            code = getattr(self._library, name)(*arguments)
        except AttributeError as error:
            raise NoAnswer(f"the driver is too old for {name}") from error
        if code:
            raise NoAnswer(f"{name} ended with {code}", code)

    def cards(self) -> Iterator[tuple[int, int, dict[int, int]]]:
        """Yield for each card the bytes in use, those that there are, and those of each process. Raises NoAnswer."""
        for card in self._handles():
            memory = _Memory()
            self._ask("nvmlDeviceGetMemoryInfo", card, ctypes.byref(memory))
            yield memory.used, memory.total, self._processes(card)

    def _handles(self) -> Iterator[ctypes.c_void_p]:
        count = ctypes.c_uint()
        self._ask("nvmlDeviceGetCount_v2", ctypes.byref(count))
        for index in range(count.value):
            card = ctypes.c_void_p()
            self._ask("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(card))
            yield card

    def _processes(self, card: ctypes.c_void_p) -> dict[int, int]:
        held: dict[int, int] = {}
        for kind in ("Compute", "MPSCompute"):  # those that share the card under MPS are listed apart
            found, length = (_Process * _MANY)(), ctypes.c_uint(_MANY)
            try:
                self._ask(f"nvmlDeviceGet{kind}RunningProcesses_v3", card, ctypes.byref(length), found)
            except NoAnswer:
                continue  # not every card tells
            known = (found[number] for number in range(min(length.value, _MANY)))
            held |= {process.pid: process.memory for process in known if process.memory != _UNKNOWN}
        return held

    def properties(self) -> list[CardProperties]:
        """List the cards with what does not change. Raises NoAnswer."""
        return [
            CardProperties(self._text("nvmlDeviceGetName", card), total, total - used, self._capability(card))
            for card, (used, total, _) in zip(self._handles(), self.cards(), strict=True)
        ]

    def driver(self) -> Driver:
        """Tell the driver's versions. Raises NoAnswer."""
        newest = ctypes.c_int()
        self._ask("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(newest))
        return Driver(self._text("nvmlSystemGetDriverVersion"), (newest.value // 1000, newest.value % 1000 // 10))

    def _capability(self, card: ctypes.c_void_p) -> tuple[int, int]:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._ask("nvmlDeviceGetCudaComputeCapability", card, ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    def _text(self, name: str, *of: object) -> str:
        text = ctypes.create_string_buffer(_LONGEST)
        self._ask(name, *of, text, ctypes.c_uint(_LONGEST))
        return text.value.decode(errors="replace")


def load() -> Nvml:
    """Open the driver's library. Raises OSError where there is none, and NoAnswer."""
    return Nvml(ctypes.CDLL("libnvidia-ml.so.1"))


def look(load: Callable[[], Nvml] = load, seconds: float = PATIENCE) -> tuple[Driver, list[CardProperties]]:
    """Ask once for the driver and the cards. Raises OSError where there is no driver, and NoAnswer."""
    answers: queue.SimpleQueue[tuple[Driver, list[CardProperties]] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            nvml = load()
            answers.put((nvml.driver(), nvml.properties()))
        except (OSError, NoAnswer) as error:
            answers.put(error)

    threading.Thread(target=ask, name="driver", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise NoAnswer(f"the driver has not answered for {seconds:.0f} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


class Card:
    """Asks every few seconds, from `watch` to `close`."""

    def __init__(
        self,
        processes: Callable[[], dict[str, set[int]]],
        load: Callable[[], Nvml] = load,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what lists the engine's processes by their cards, what opens the library, and a clock in seconds."""
        self._processes, self._load, self._clock = processes, load, clock
        self._nvml: Nvml | None = None
        self._told: tuple[float, CardMemory | None, dict[str, CardMemory]] | None = None
        self._closed = threading.Event()

    @property
    def memory(self) -> CardMemory | None:
        """What the card said last, or all of them together, if that is fresh."""
        return self._lately()[0]

    @property
    def by_card(self) -> dict[str, CardMemory]:
        """What each card said last, as far as it is known and fresh."""
        return self._lately()[1]

    def _lately(self) -> tuple[CardMemory | None, dict[str, CardMemory]]:
        if self._told and self._clock() - self._told[0] <= FRESH:
            return self._told[1:]
        return None, {}

    def watch(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._watch, name="card", daemon=True).start()

    def close(self) -> None:
        """Ask no more; does not wait for an answer."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                self.look()
            except OSError:
                return  # no driver, no card
            except NoAnswer as error:
                log.debug("the card's memory is not known: %s", error)
            self._closed.wait(EVERY)

    def look(self) -> None:
        """Ask once. Raises OSError where there is no driver, and NoAnswer; then the library is opened anew."""
        nvml, self._nvml = self._nvml or self._load(), None
        taken, ours = list(nvml.cards()), self._processes()
        each = {name: memory for name, pids in ours.items() if (memory := _of_engine(taken, pids))}
        self._nvml, self._told = nvml, (self._clock(), _of_engine(taken, set().union(*ours.values())), each)


def _of_engine(cards: list[tuple[int, int, dict[int, int]]], engine: set[int]) -> CardMemory | None:
    """Sum up the cards that the engine is on; if the driver names it on none, only a single card can be meant."""
    on = [card for card in cards if card[2].keys() & engine]
    held = sum(held for _, _, processes in on for pid, held in processes.items() if pid in engine)
    if not on and len(cards) != 1:
        return None
    meant = on or cards
    return CardMemory(held if on else None, sum(card[0] for card in meant), sum(card[1] for card in meant))
