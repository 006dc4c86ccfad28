"""vLLM's workers, which also record when each phase of their start begins. vLLM imports them by name in its processes.

Made when they are asked for, since importing one of vLLM's workers brings in all that it runs with.
"""

import time
from collections.abc import Callable
from typing import Any

from ocrd.engines.vllm import process_guard

PHASES = {
    "init_device": "card",
    "load_model": "weights",
    "determine_available_memory": "compilation",
    "initialize_from_config": "cache",
    "compile_or_warm_up_model": "graphs",
}
"""The worker's methods, in the order in which vLLM calls them at a start, with what each of them does."""


def __getattr__(name: str) -> type:
    if name == "GpuWorker":
        from vllm.v1.worker.gpu_worker import Worker as Upstream
    elif name == "CpuWorker":
        from vllm.v1.worker.cpu_worker import CPUWorker as Upstream
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    methods = {method: _recording(getattr(Upstream, method), phase) for method, phase in PHASES.items()}
    made = type(name, (Upstream,), {"__module__": __name__, **methods})
    globals()[name] = made
    return made


def _recording(upstream: Callable[..., Any], phase: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as vLLM calls it
        if self.rank == 0:
            process_guard.record_phase(phase, time.monotonic())
        return upstream(self, *arguments, **options)

    return method
