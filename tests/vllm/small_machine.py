"""Start-up hook of the test environment `.venv-vllm`: what vLLM needs on a machine without a GPU.

`setup.sh` copies it into the environment and names it in a `.pth`, so that it acts in every process, also those that
vLLM starts. It changes two things when they are imported:

- torchvision: PyPI's wheel is built for CUDA; beside a CPU torch its operators are missing and its import fails. The
  model needs only its pure-Python transforms, so declaring the two operators that the import looks up is enough.
- DeepSeek-OCR's vision towers: vLLM hard-codes their depth, 12 and 24 layers. Two layers each read a page six times
  as fast on two cores, and run the same code.
"""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

DEEPENCODER = "vllm.model_executor.models.deepencoder"
LAYERS = 2


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
    """Leave two layers in each vision tower (vllm/model_executor/models/deepencoder.py)."""
    whole_sam, whole_clip = module._build_sam, module.DeepCLIPVisionTransformer.__init__

    def sam(**sizes: object) -> object:
        sizes.update(encoder_depth=LAYERS, encoder_global_attn_indexes=[LAYERS - 1])
        return whole_sam(**sizes)

    def clip(self: object, config: object, **options: object) -> None:
        config.num_hidden_layers = LAYERS
        whole_clip(self, config=config, **options)

    module._build_sam, module.DeepCLIPVisionTransformer.__init__ = sam, clip


class _CutAfterImport(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        cut_towers(module)


class Hook(MetaPathFinder):
    """Acts at the first import of either module, and finds nothing itself but the wrapped loader."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def find_spec(self, name: str, path: object = None, _target: object = None) -> ModuleSpec | None:
        if name not in ("torchvision", DEEPENCODER) or name in self._seen:
            return None
        self._seen.add(name)
        if name == "torchvision":
            declare_operators()
            return None
        spec = PathFinder.find_spec(name, path)
        spec.loader = _CutAfterImport(spec.loader)
        return spec


if not any(isinstance(finder, Hook) for finder in sys.meta_path):
    sys.meta_path.insert(0, Hook())
