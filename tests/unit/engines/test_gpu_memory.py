"""The memory of the card: told where NVML tells it, and silence where it misbehaves."""

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ocrd.engines.vllm import gpu_memory
from ocrd.engines.vllm.gpu_memory import Card, CardMemory, NoAnswer, Nvml

GONE = 15  # NVML_ERROR_GPU_IS_LOST
UNKNOWN = 2**64 - 1


class FakeNvml:
    """Speaks as libnvidia-ml does, through pointers and numbers, and fails as that does."""

    def __init__(self, *cards: tuple[int, int, dict[int, int]]) -> None:
        self.cards = cards
        self.fails: dict[str, int] = {}
        self.opened = 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        answer = getattr(self, f"_{name}", None) if name.startswith("nvml") else None
        if answer is None:
            raise AttributeError(name)
        return lambda *arguments: self.fails.get(name, 0) or answer(*arguments) or 0

    def _nvmlInit_v2(self) -> None:  # noqa: N802
        self.opened += 1

    def _nvmlDeviceGetCount_v2(self, count: Any) -> None:  # noqa: N802
        count._obj.value = len(self.cards)

    def _nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, handle: Any) -> None:  # noqa: N802
        handle._obj.value = 4096 + index.value

    def _nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> None:  # noqa: N802
        memory._obj.used, memory._obj.total, _ = self.cards[handle.value - 4096]

    def _nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, length: Any, found: Any) -> None:  # noqa: N802
        processes = self.cards[handle.value - 4096][2]
        assert length._obj.value == len(found)
        length._obj.value = len(processes)
        for process, (pid, held) in zip(found, processes.items(), strict=False):
            process.pid, process.memory = pid, held


def looking(library: FakeNvml, *engine: int, clock: Callable[[], float] = lambda: 0.0) -> Card:
    return Card(lambda: {"": set(engine)}, lambda: Nvml(library), clock)


@pytest.mark.parametrize(
    ("cards", "told"),
    [
        ([(70, 80, {7: 60, 8: 5, 9: 1})], CardMemory(65, 70, 80)),
        ([(10, 80, {9: 10}), (70, 80, {7: 60}), (50, 80, {8: 50})], CardMemory(110, 120, 160)),
        ([(70, 80, {})], CardMemory(None, 70, 80)),
        ([(70, 80, {7: UNKNOWN})], CardMemory(None, 70, 80)),
        ([(70, 80, {}), (0, 80, {})], None),
        ([], None),
    ],
)
def test_the_cards_of_the_engine_are_summed_up(
    cards: list[tuple[int, int, dict[int, int]]], told: CardMemory | None
) -> None:
    asked = looking(FakeNvml(*cards), 7, 8)
    asked.look()
    assert asked.memory == told


def test_a_card_that_does_not_name_its_processes_still_tells_its_memory() -> None:
    library = FakeNvml((70, 80, {7: 60}))
    library.fails["nvmlDeviceGetComputeRunningProcesses_v3"] = 3
    asked = looking(library, 7)
    asked.look()
    assert asked.memory == CardMemory(None, 70, 80)


@pytest.mark.parametrize("name", ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetMemoryInfo"])
def test_a_card_that_is_lost_is_asked_again_and_no_stale_figure_is_told(name: str) -> None:
    now = [0.0]
    library = FakeNvml((70, 80, {}))
    asked = looking(library, clock=lambda: now[0])
    if name != "nvmlInit_v2":
        asked.look()
        assert asked.memory
    library.fails[name] = GONE
    now[0] = gpu_memory.FRESH + 1
    with pytest.raises(NoAnswer, match=f"{name} ended with 15"):
        asked.look()
    assert asked.memory is None
    library.fails.clear()
    asked.look()
    assert asked.memory
    assert library.opened == (1 if name == "nvmlInit_v2" else 2), "after a fault the library is opened anew"


def test_a_driver_without_what_is_asked_for_is_no_defect() -> None:
    with pytest.raises(NoAnswer, match="too old for nvmlInit_v2"):
        Nvml(object())


def test_without_a_driver_the_thread_goes_away() -> None:
    asked = Card(dict, lambda: Nvml(ctypes.CDLL("libno-such-driver.so.1")))
    asked.watch()
    deadline = time.monotonic() + 120
    while any(thread.name == "card" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
    assert asked.memory is None


def test_a_driver_that_hangs_holds_nobody_up() -> None:
    hangs, asked_once = threading.Event(), threading.Event()

    def load() -> Nvml:
        asked_once.set()
        hangs.wait()
        return Nvml(FakeNvml((70, 80, {})))

    asked = Card(dict, load)
    asked.watch()
    assert asked_once.wait(120)
    assert asked.memory is None
    asked.close()
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "card"] == [True]
    hangs.set()


class FakeCards(FakeNvml):
    """With what does not change, and a list of those that share a card under MPS."""

    shared: dict[int, int]

    def _nvmlDeviceGetMPSComputeRunningProcesses_v3(self, _: Any, length: Any, found: Any) -> None:  # noqa: N802
        length._obj.value = len(self.shared)
        for process, (pid, held) in zip(found, self.shared.items(), strict=False):
            process.pid, process.memory = pid, held

    def _nvmlDeviceGetName(self, _: Any, text: Any, length: Any) -> None:  # noqa: N802
        assert length.value == len(text)
        text.value = b"NVIDIA H100"

    def _nvmlDeviceGetCudaComputeCapability(self, _: Any, major: Any, minor: Any) -> None:  # noqa: N802
        major._obj.value, minor._obj.value = 9, 0

    def _nvmlSystemGetDriverVersion(self, text: Any, length: Any) -> None:  # noqa: N802
        assert length.value == len(text)
        text.value = b"580.65.06"

    def _nvmlSystemGetCudaDriverVersion_v2(self, version: Any) -> None:  # noqa: N802
        version._obj.value = 13010


def test_the_memory_of_engines_under_mps_is_theirs() -> None:
    library = FakeCards((70, 80, {1: 2}))
    library.shared = {7: 30, 8: 31}
    card = looking(library, 7, 8)
    card.look()
    assert card.memory == CardMemory(61, 70, 80)


def test_driver_and_cards_are_told() -> None:
    library = FakeCards((70, 80, {}))
    library.shared = {}
    driver, cards = gpu_memory.look(lambda: Nvml(library))
    assert driver == gpu_memory.Driver("580.65.06", (13, 1))
    assert cards == [gpu_memory.CardProperties("NVIDIA H100", 80, 10, (9, 0))]


def test_a_driver_that_refuses_tells_its_code() -> None:
    library = FakeCards()
    library.fails["nvmlInit_v2"] = 18
    with pytest.raises(NoAnswer) as refused:
        gpu_memory.look(lambda: Nvml(library))
    assert refused.value.code == 18


def test_a_driver_that_hangs_is_waited_for_no_longer_than_that() -> None:
    held = threading.Event()

    def hang() -> Nvml:
        held.wait(120)
        raise OSError

    with pytest.raises(NoAnswer, match="has not answered"):
        gpu_memory.look(hang, seconds=0.05)
    held.set()
    deadline = time.monotonic() + 120
    while any(thread.name == "driver" for thread in threading.enumerate()):
        assert time.monotonic() < deadline


def test_a_machine_without_the_library_says_so() -> None:
    def load() -> Nvml:
        raise OSError("libnvidia-ml.so.1")

    with pytest.raises(OSError, match="libnvidia-ml"):
        gpu_memory.look(load)
