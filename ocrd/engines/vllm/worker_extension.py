"""What of ocrd runs inside vLLM's own processes. vLLM imports it there by name; nothing else does.

The executor is the first thing that EngineCore makes, before any memory of the card is taken
(vllm/v1/engine/core.py, `EngineCore.__init__`), so it is there that the process is tied to the daemon.
"""

import os
from typing import Any

from vllm.platforms import current_platform
from vllm.v1.executor import Executor, UniProcExecutor
from vllm.v1.executor.multiproc_executor import MultiprocExecutor

from ocrd.engines.vllm import process_guard

# Each of vLLM's processes imports this early. EngineCore waits minutes for a daemon that died before it got to its
# executor; its workers see that it is gone only once they have loaded.
process_guard.die_with_parent()


class TiedUniProcExecutor(UniProcExecutor):  # type: ignore[misc] # vLLM is no part of the type checker's world
    """The worker in EngineCore's own process: one GPU."""

    def _init_executor(self) -> None:
        import torch

        process_guard.tie()
        allow_plain_numbers()
        super()._init_executor()
        # What is left to the processor is small. Spread over all cores, each piece waits for the slowest of them, and
        # the render workers keep them busy. vLLM's other executor does the same.
        if not current_platform.is_cpu():
            torch.set_num_threads(1)


class TiedMultiprocExecutor(MultiprocExecutor):  # type: ignore[misc] # as above
    """Workers in processes of their own, which vLLM ties to EngineCore: several GPUs, or the CPU."""

    def _init_executor(self) -> None:
        process_guard.tie()
        allow_plain_numbers()
        if current_platform.is_cpu():
            fork_workers()
        super()._init_executor()


def fork_workers() -> None:
    """Fork the workers from EngineCore, which has imported all that they need, as vLLM does by default."""
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
    os.register_at_fork(after_in_child=process_guard.die_with_parent)


def allow_plain_numbers() -> None:
    """Let Triton compile a kernel of the vision towers that reads a plain number of its module.

    It is LOG2E of vllm/triton_utils/__init__.py, which Triton from 3.8 on refuses: "Cannot access global variable LOG2E
    from within @jit'ed function". Does nothing where vLLM has made a constant of it, or has no such kernel.
    """
    from vllm import triton_utils

    if isinstance(getattr(triton_utils, "LOG2E", None), float):
        os.environ.setdefault("TRITON_ALLOW_NON_CONSTEXPR_GLOBALS", "1")


TIED: dict[type[Any], type[Any]] = {
    UniProcExecutor: TiedUniProcExecutor,
    MultiprocExecutor: TiedMultiprocExecutor,
}


def tied_executor(config: Any) -> type[Any]:  # noqa: ANN401 - vLLM's configuration
    """Return the executor that vLLM would choose for this configuration, tied to the daemon."""
    chosen: type[Any] = Executor.get_class(config)
    return TIED.get(chosen, chosen)


TIMED = {
    "vllm.v1.worker.gpu_worker.Worker": "ocrd.engines.vllm.timed_worker.GpuWorker",
    "vllm.v1.worker.cpu_worker.CPUWorker": "ocrd.engines.vllm.timed_worker.CpuWorker",
}


def timed_worker(chosen: str) -> str:
    """Return vLLM's worker, by its qualified name, that also records the phases of its start."""
    return TIMED.get(chosen, chosen)


CLOSE = 0.02
"""How far the vision towers' recordings may differ from the towers, as a share of the largest value: bfloat16's noise
over their layers."""
PART = 6
"""Views that are turned into numbers at a time."""


class WorkerExtension:
    """Mixed into vLLM's worker (`worker_extension_cls`): tells how it is really set up, and speeds up its eyes."""

    vllm_config: Any
    model_runner: Any
    device: Any

    def ocrd_settings(self) -> dict[str, Any]:
        """Read the settings that must not be otherwise, from the worker's own configuration."""
        model = self.vllm_config.model_config
        return {
            "enable_prefix_caching": self.vllm_config.cache_config.enable_prefix_caching,
            "mm_processor_cache_gb": model.multimodal_config.mm_processor_cache_gb,
            "logits_processors": [str(one).rpartition(":")[2] for one in model.logits_processors or ()],
            "runner": "v2" if hasattr(self.model_runner, "model_state") else "v1",
        }

    def ocrd_take_levels(self) -> list[float]:
        """Let the model take views as bytes, one for each level of a pixel, as `deepseek.Views` makes them.

        What upstream's processor does last (ToTensor and Normalize of torchvision, and then the cast to the model's
        type) is done here instead, by a table on the card. Returns the table.
        """
        import torch

        levels = torch.arange(256, dtype=torch.float32).div(255).sub(0.5).div(0.5)
        table = levels.to(self.vllm_config.model_config.dtype).to(self.device)
        model, graphs = self.model_runner.get_model(), self._graphs()
        model.embed_multimodal = _taking_levels(model.embed_multimodal, table)
        if graphs is not None:
            execute = _taking_levels(lambda **views: type(graphs).execute(graphs, views), table)
            graphs.execute = lambda views: execute(**views)
        return [float(number) for number in table.float().cpu()]

    def ocrd_check_graphs(self) -> str:
        """Compare what the recorded vision towers make of a noisy page with what the towers themselves make of it.

        Where they differ, the recordings are put aside. Returns in words what is used.
        """
        import torch

        graphs = self._graphs()
        if graphs is None:
            return "vision towers launched step by step"
        dice = torch.Generator(device="cpu").manual_seed(1)
        differs = []
        for wide, high in ((1, 1), (2, 3), (2, 2)):
            count = wide * high if wide * high > 1 else 0
            shapes = {"pixel_values": (1, 3, 1024, 1024), "images_crop": (count, 3, 640, 640)}
            dtype = self.vllm_config.model_config.dtype
            views = {
                name: torch.rand(shape, generator=dice).mul(2).sub(1).to(self.device, dtype)
                for name, shape in shapes.items()
            }
            views["images_spatial_crop"] = torch.tensor([[wide, high]])
            with torch.inference_mode():
                (launched,) = self.model_runner.get_model().embed_multimodal(**views)
                (recorded,) = graphs.execute(views)
            if launched.shape != recorded.shape:
                differs.append(f"shape {tuple(recorded.shape)}, not {tuple(launched.shape)}")
                continue
            scale = launched.float().abs().max()
            if not (recorded.float() - launched.float()).abs().max() <= CLOSE * scale:
                differs.append(f"{wide} x {high} tiles")
        if not differs:
            return "vision towers recorded as graphs, checked"
        self._set_graphs(None)
        return f"vision towers launched step by step, since their recordings differ: {', '.join(differs)}"

    def _graphs(self) -> Any:  # noqa: ANN401 - vLLM's EncoderCudaGraphManager, or None
        holder, name = self._graphs_place()
        return getattr(holder, name, None)

    def _set_graphs(self, graphs: Any) -> None:  # noqa: ANN401 - as above
        holder, name = self._graphs_place()
        setattr(holder, name, graphs)

    def _graphs_place(self) -> tuple[Any, str]:
        """Return what holds the vision towers' recordings, and under which name; it differs by model runner."""
        state = getattr(self.model_runner, "model_state", None)  # V2's (vllm/v1/worker/gpu/mm/encoder_runner.py)
        if encoder := getattr(state, "encoder_runner", None):
            return encoder, "cudagraph_manager"
        return self.model_runner, "encoder_cudagraph_manager"


def _taking_levels(upstream: Any, table: Any) -> Any:  # noqa: ANN401 - functions of tensors
    """Wrap a function of views so that it takes bytes, too."""
    import torch

    def take(**views: Any) -> Any:  # noqa: ANN401 - vLLM's
        for name in ("pixel_values", "images_crop"):
            view = views.get(name)
            if isinstance(view, torch.Tensor) and view.dtype == torch.uint8:
                views[name] = numbers(view, table)
        return upstream(**views)

    return take


def numbers(view: Any, table: Any) -> Any:  # noqa: ANN401 - tensors
    """Look every level of a view up in the table: a tensor of the same shape. In parts, since indices take room."""
    import torch

    found = torch.empty(view.shape, dtype=table.dtype, device=table.device)
    for part, place in zip(view.split(PART), found.split(PART), strict=True):
        if part.numel():
            torch.index_select(table, 0, part.flatten().int(), out=place.view(-1))
    return found
