"""Page images at exactly the size that a model sees. `tests/vllm/test_profiles.py` has upstream's processors beside."""

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.config import profile
from ocrd.config.profile import ImageRule
from ocrd.config.resolving import resolve, shipped
from ocrd.config.vllm import VllmSettings
from ocrd.engines.vllm import deepseek, image_size
from ocrd.engines.vllm.engine import VllmEngine
from ocrd.model import PixelSize

POINTS = st.floats(20, 5000)
"""Edges of a page."""

A4 = {
    "deepseek-ocr": (1280, 1920, 903),
    "deepseek-ocr-2": (1536, 2304, 1121),
    "unlimited-ocr": (1280, 1920, 903),
    "lighton-ocr-2": (1092, 1540, 2145),
    "lighton-ocr-3": (1440, 2048, 2880),
    "dots-mocr": (1652, 2352, 4956),
    "olmocr-2": (924, 1288, 1518),
    "chandra-2": (1600, 2240, 3500),
    "qianfan-ocr": (896, 1344, 1792),
    "granite-docling": (1536, 2048, 832),
}


@pytest.mark.parametrize("name", A4)
def test_an_a4_page_has_the_size_and_the_tokens_of_the_model(name: str) -> None:
    rule = shipped(name).image
    size = image_size.page_size(595, 842, rule=rule)
    assert (size.width, size.height, image_size.tokens(size, rule)) == A4[name]


@given(POINTS, POINTS, st.sampled_from(profile.names()))
def test_every_page_keeps_to_the_rule(width: float, height: float, name: str) -> None:
    rule = shipped(name).image
    size = image_size.page_size(width, height, rule=rule)
    edges = (size.width, size.height)
    if rule.scheme == "patches":
        assert all(edge % rule.factor == 0 and edge > 0 for edge in edges)
        assert size.width * size.height <= (rule.max_pixels or math.inf)
        assert rule.min_pixels <= size.width * size.height
        assert not rule.longest_edge or max(edges) <= rule.longest_edge
        assert image_size.fitted(*edges, rule) == size, "the model's own processor leaves it alone"
    if rule.scheme in ("internvl", "idefics3"):
        assert all(edge % rule.tile == 0 and edge > 0 for edge in edges)


def test_a_page_of_one_tile_has_no_view_of_the_whole_beside_it() -> None:
    rule = shipped("qianfan-ocr").image
    size = image_size.page_size(100, 100, rule=rule)
    assert (size, image_size.tokens(size, rule)) == (PixelSize(448, 448), 256)
    assert image_size.tokens(PixelSize(896, 448), rule) == 3 * 256


def test_a_page_is_not_drawn_beyond_its_dots_per_inch() -> None:
    rule = ImageRule(scheme="patches", dpi=144, longest_edge=2000, factor=2)
    assert image_size.page_size(100, 50, rule=rule) == PixelSize(200, 100)
    assert image_size.page_size(2000, 1000, rule=rule) == PixelSize(2000, 1000)


def test_a_page_is_drawn_larger_where_its_shorter_edge_would_be_too_small() -> None:
    rule = ImageRule(scheme="patches", dpi=72, shortest_edge=500)
    assert image_size.page_size(100, 50, rule=rule) == PixelSize(1000, 500)


@pytest.mark.parametrize("name", [name for name in profile.names() if name != "markdown"])
def test_the_engine_asks_for_pages_by_its_profile_in_a_way_that_workers_take(name: str) -> None:
    engine = VllmEngine(VllmSettings(), profile=shipped(name))
    sizer = pickle.loads(pickle.dumps(engine.page_size))  # noqa: S301 - our own
    assert sizer(595, 842) == image_size.page_size(595, 842, rule=shipped(name).image)


def test_the_defaults_pages_are_drawn_as_before() -> None:
    size = VllmEngine(VllmSettings()).page_size
    assert (size.func, size.keywords) == (deepseek.page_size, {"tile": 640})


def test_a_page_and_its_answer_fit_into_the_context_of_each_profile() -> None:
    for name in profile.names():
        settings = resolve(VllmSettings(model="m"), shipped(name))
        if settings.profile.architectures:
            tokens = image_size.tokens(
                image_size.page_size(842, 1191, rule=settings.profile.image), settings.profile.image
            )
            assert tokens + 500 + min(settings.max_tokens, 4096) <= settings.max_model_len, name
