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


class Witness:
    """Mixed into vLLM's worker (`worker_extension_cls`): tells how the running engine is really set up."""

    vllm_config: Any

    def ocrd_settings(self) -> dict[str, Any]:
        """Read the settings that must not be otherwise, from the worker's own configuration."""
        model = self.vllm_config.model_config
        return {
            "enable_prefix_caching": self.vllm_config.cache_config.enable_prefix_caching,
            "mm_processor_cache_gb": model.multimodal_config.mm_processor_cache_gb,
            "logits_processors": [str(one).rpartition(":")[2] for one in model.logits_processors or ()],
        }
