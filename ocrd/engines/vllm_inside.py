"""What of ocrd runs inside vLLM's own processes. vLLM imports it there by name; nothing else does.

The executor is the first thing that EngineCore makes, before any memory of the card is taken
(vllm/v1/engine/core.py, `EngineCore.__init__`), so it is there that the process is tied to the daemon.
"""

from typing import Any

from vllm.v1.executor import Executor, UniProcExecutor
from vllm.v1.executor.multiproc_executor import MultiprocExecutor

from ocrd.engines import tether


class TiedUniProcExecutor(UniProcExecutor):  # type: ignore[misc] # vLLM is no part of the type checker's world
    """The worker in EngineCore's own process: one GPU."""

    def _init_executor(self) -> None:
        tether.tie()
        super()._init_executor()


class TiedMultiprocExecutor(MultiprocExecutor):  # type: ignore[misc] # as above
    """Workers in processes of their own, which vLLM ties to EngineCore: several GPUs, or the CPU."""

    def _init_executor(self) -> None:
        tether.tie()
        super()._init_executor()


TIED: dict[type[Any], type[Any]] = {
    UniProcExecutor: TiedUniProcExecutor,
    MultiprocExecutor: TiedMultiprocExecutor,
}


def tied_executor(config: Any) -> type[Any]:  # noqa: ANN401 - vLLM's configuration
    """Return the executor that vLLM would choose for this configuration, tied to the daemon."""
    chosen: type[Any] = Executor.get_class(config)
    return TIED.get(chosen, chosen)


PART = 6
"""Views that are turned into numbers at a time."""


class Witness:
    """Mixed into vLLM's worker (`worker_extension_cls`): tells how it is really set up, lets it take views as bytes."""

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
        }

    def ocrd_take_levels(self) -> list[float]:
        """Let the model take views as bytes, one for each level of a pixel, as `deepseek.Views` makes them.

        What upstream's processor does last (ToTensor and Normalize of torchvision, and then the cast to the model's
        type) is done here instead, by a table on the card. Returns the table.
        """
        import torch

        model = self.model_runner.get_model()
        levels = torch.arange(256, dtype=torch.float32).div(255).sub(0.5).div(0.5)
        table = levels.to(self.vllm_config.model_config.dtype).to(self.device)
        upstream = model.embed_multimodal

        def embed_multimodal(**views: Any) -> Any:  # noqa: ANN401 - vLLM's
            for name in ("pixel_values", "images_crop"):
                view = views.get(name)
                if isinstance(view, torch.Tensor) and view.dtype == torch.uint8:
                    views[name] = numbers(view, table)
            return upstream(**views)

        model.embed_multimodal = embed_multimodal
        return [float(number) for number in table.float().cpu()]


def numbers(view: Any, table: Any) -> Any:  # noqa: ANN401 - tensors
    """Look every level of a view up in the table: a tensor of the same shape. In parts, since indices take room."""
    import torch

    found = torch.empty(view.shape, dtype=table.dtype, device=table.device)
    for part, place in zip(view.split(PART), found.split(PART), strict=True):
        if part.numel():
            torch.index_select(table, 0, part.flatten().int(), out=place.view(-1))
    return found
