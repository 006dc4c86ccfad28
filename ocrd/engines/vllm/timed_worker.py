"""vLLM's workers, which also record when each phase of their start begins, and can leave a kernel out that fails.

vLLM imports them by name in its processes.

Made when they are asked for, since importing one of vLLM's workers brings in all that it runs with.
"""

import time
from collections.abc import Callable
from typing import Any

from ocrd.engines.vllm import process_guard
from ocrd.engines.vllm.setup import PLAIN_TOWERS

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
        done = upstream(self, *arguments, **options)
        if phase == "weights" and PLAIN_TOWERS in (self.vllm_config.additional_config or {}):
            leave_out_kernel(self.model_runner.get_model())
        return done

    return method


def leave_out_kernel(model: Any) -> None:  # noqa: ANN401 - a torch module
    """Let the vision towers use torch's attention (vllm/model_executor/models/deepencoder.py, `RelPosAttention`)."""
    for module in model.modules():
        if getattr(module, "use_triton_attention", False):
            module.use_triton_attention = False
