"""Start-up hook of the test environment `.venv-vllm`: what vLLM needs on a machine without a GPU, and few cores.

`setup.sh` copies it into the environment and names it in a `.pth`, so that it acts in every process, also those that
vLLM starts. It changes these things when they are imported:

- torchvision: PyPI's wheel is built for CUDA; beside a CPU torch its operators are missing and its import fails. The
  model needs only its pure-Python transforms, so declaring the two operators that the import looks up is enough.
- The vision towers of DeepSeek-OCR and DeepSeek-OCR-2: vLLM hard-codes their sizes. With two layers each, and a sixth
  of the width in the first, which sees the most, they read a small page in half a second, and run the same code.
- How vLLM's processes wait for each other: they look without a pause for a second after each message, and so take a
  core from others. Here they look a thousand times a second.

And Python looks for garbage rarely: beside the import of some ten thousand modules, that takes a seventh of its time.
"""

import functools
import gc
import sys
import time
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

LAYERS = 2
WIDTH, HEADS = 128, 2
"""Of the first tower: the heads are as wide as they were."""


def declare_operators() -> None:
    """Declare torchvision's operators beside a CPU torch, where its own library can't be loaded."""
    import torch

    if torch.version.cuda:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    globals()["_library"] = library  # the operators go with it


def cut_towers(module: ModuleType) -> None:
    """Leave little of both vision towers (vllm/model_executor/models/deepencoder.py)."""
    whole_sam, whole_clip = module.ImageEncoderViT.__init__, module.DeepCLIPVisionTransformer.__init__

    def sam(self: object, **sizes: object) -> None:
        sizes.update(depth=LAYERS, embed_dim=WIDTH, num_heads=HEADS, global_attn_indexes=[LAYERS - 1])
        whole_sam(self, **sizes)

    def clip(self: object, config: object, **options: object) -> None:
        config.num_hidden_layers = LAYERS
        whole_clip(self, config=config, **options)

    module.ImageEncoderViT.__init__, module.DeepCLIPVisionTransformer.__init__ = sam, clip


def cut_second_tower(module: ModuleType) -> None:
    """Leave little of what DeepSeek-OCR-2 has for a second tower (vllm/model_executor/models/deepencoder2.py)."""
    module.build_qwen2_decoder_as_encoder = functools.partial(
        module.build_qwen2_decoder_as_encoder, decoder_layer=LAYERS
    )


def wait_with_pauses(module: ModuleType) -> None:
    """Sleep where vLLM gives the processor up only for a moment (vllm/distributed/.../shm_broadcast.py)."""
    module.sched_yield = functools.partial(time.sleep, 0.001)


AFTER_IMPORT = {
    "vllm.model_executor.models.deepencoder": cut_towers,
    "vllm.model_executor.models.deepencoder2": cut_second_tower,
    "vllm.distributed.device_communicators.shm_broadcast": wait_with_pauses,
}


class _ChangedAfterImport(Loader):
    def __init__(self, loader: Loader, change: Callable[[ModuleType], None]) -> None:
        self._loader, self._change = loader, change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)


class Hook(MetaPathFinder):
    """Acts at the first import of each of these modules, and finds nothing itself but the wrapped loader."""

    def __init__(self) -> None:
        self._left = {"torchvision", *AFTER_IMPORT}

    def find_spec(self, name: str, path: object = None, _target: object = None) -> ModuleSpec | None:
        if name not in self._left:
            return None
        self._left.remove(name)
        if name == "torchvision":
            declare_operators()
            return None
        spec = PathFinder.find_spec(name, path)
        spec.loader = _ChangedAfterImport(spec.loader, AFTER_IMPORT[name])
        return spec


gc.set_threshold(100_000, 20, 20)
if not any(isinstance(finder, Hook) for finder in sys.meta_path):
    sys.meta_path.insert(0, Hook())
