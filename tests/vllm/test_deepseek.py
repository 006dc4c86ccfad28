"""Which pixels the model sees of a page, and that none of them are a page that ends vLLM."""

import pytest
from PIL import Image

from ocrd.engines.vllm import deepseek
from ocrd.model import PixelSize


@pytest.mark.parametrize(
    ("points", "pixels"),
    [
        ((595, 842), (1280, 1920)),  # A4
        ((842, 595), (1920, 1280)),
        ((612, 792), (1280, 1920)),  # letter
        ((500, 500), (1280, 1280)),
        ((100, 1000), (640, 3840)),  # a receipt
        ((144, 72), (600, 300)),  # a label, at 300 dpi
    ],
)
def test_a_page_gets_the_pixels_that_the_model_sees(points: tuple[float, float], pixels: tuple[int, int]) -> None:
    assert deepseek.page_size(*points) == PixelSize(*pixels)


def test_sizes_agree_with_upstream() -> None:
    from vllm.transformers_utils.processors.deepseek_ocr import count_tiles

    for width in range(200, 2000, 37):
        size = deepseek.page_size(width, 842)
        assert count_tiles(size.width, size.height) == (size.width // 640, size.height // 640)
        if abs(width / 842 - 1.75) > 0.01:  # a tie, where upstream asks for the area
            assert count_tiles(width * 4, 842 * 4) == (size.width // 640, size.height // 640)


def half_black(size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, "white")
    image.paste("black", (0, 0, size[0], size[1] // 2))
    return image


@pytest.mark.parametrize("size", [(1280, 1920), (1190, 1684), (1280, 640), (640, 3840), (600, 600)])
def test_no_view_of_a_guarded_page_sums_to_zero(size: tuple[int, int]) -> None:
    import torch
    from vllm.transformers_utils.processors.deepseek_ocr import ImageTransform

    guarded = deepseek.survivable(half_black(size))
    assert max(abs(a - b) for a, b in zip(guarded.tobytes(), half_black(size).tobytes(), strict=True)) in (0, 2)
    for view, _ in deepseek._views(guarded, 640):
        for kind in (torch.float32, torch.bfloat16):
            assert abs(ImageTransform()(view).to(kind).sum().item()) > 100


def test_an_ordinary_page_is_left_as_it_is() -> None:
    image = Image.new("RGB", (1280, 1920), (240, 240, 240))
    assert deepseek.survivable(image) is image
