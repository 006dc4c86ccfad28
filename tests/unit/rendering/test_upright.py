"""Pages are set right in the render workers, however they lie, and places are found again on the page as it was."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from PIL import Image

from ocrd.concurrency.worker_pool import Limits
from ocrd.engines.vllm.deepseek import page_size
from ocrd.model import PageImage, View
from ocrd.rendering.renderer import Renderer

ENGLISH = (Path(__file__).parents[3] / "ocrd/samples/english.txt").read_text(encoding="utf-8")
SPOT = (430.0, 120.0)
"""Points: the middle of a red square on the page that stands upright."""


@pytest.fixture(scope="module")
def render() -> Iterator[object]:
    with asyncio.Runner() as runner:
        renderer = Renderer(1, Limits(60, 2**31))

        def page(path: Path, view: View | None = None) -> PageImage:
            return runner.run(renderer.page(path, 0, page_size, None, view or View()))

        yield page
        runner.run(renderer.close())


def red(page: PageImage) -> tuple[float, float]:
    """Find the middle of the red square: shares of the image."""
    pixels = np.frombuffer(page.pixels, np.uint8).reshape(page.size.height, page.size.width, 3).astype(int)
    rows, columns = np.nonzero((pixels[..., 0] > 150) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90))
    return columns.mean() / page.size.width, rows.mean() / page.size.height


def printed(path: Path, turn: int) -> tuple[float, float]:
    """Print a page turned clockwise by so many degrees; returns where the square's middle is shown then."""
    with pymupdf.open() as document:
        page = document.new_page(width=595, height=842)
        page.insert_textbox((60, 160, 540, 780), ENGLISH.partition("\f")[0], fontsize=11, fontname="tiro")
        page.draw_rect((SPOT[0] - 15, SPOT[1] - 15, SPOT[0] + 15, SPOT[1] + 15), color=(1, 0, 0), fill=(1, 0, 0))
        page.set_rotation(turn)
        shown = pymupdf.Point(*SPOT) * page.rotation_matrix
        document.save(path)
    return shown.x, shown.y


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_turned_pdf_page_stands_upright_and_its_places_are_found(render: object, tmp_path: Path, turn: int) -> None:
    shown = printed(tmp_path / "scan.pdf", turn)
    page = render(tmp_path / "scan.pdf")  # type: ignore[operator]
    assert page.facts.placement.turn == (360 - turn) % 360
    assert page.facts.other_turn is None
    assert page.size.height > page.size.width
    assert red(page) == pytest.approx((SPOT[0] / 595, SPOT[1] / 842), abs=0.01)
    assert page.facts.placement.on_page(*red(page)) == pytest.approx(shown, abs=3)
    left = render(tmp_path / "scan.pdf", View(turn=0))  # type: ignore[operator]
    assert left.facts.placement.turn == 0
    assert left.facts.placement.on_page(*red(left)) == pytest.approx(shown, abs=3)


@pytest.mark.parametrize(("turn", "skew"), [(0, 1.5), (90, -2.0), (180, 2.5), (270, -0.9)])
def test_a_scan_that_is_askew_is_set_right_and_its_places_are_found(
    render: object, tmp_path: Path, turn: int, skew: float
) -> None:
    printed(tmp_path / "flat.pdf", 0)
    with pymupdf.open(tmp_path / "flat.pdf") as document:
        pixmap = document[0].get_pixmap(dpi=150)
    flat = Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)
    scan = flat.rotate(-skew, Image.Resampling.BICUBIC, fillcolor="white").rotate(-turn, expand=True)
    scan.save(tmp_path / "scan.png", dpi=(150, 150))
    page = render(tmp_path / "scan.png")  # type: ignore[operator]
    assert page.facts.placement.turn == (360 - turn) % 360
    assert page.facts.placement.skew == pytest.approx(-skew, abs=0.25)
    pixels = np.asarray(scan).astype(int)
    rows, columns = np.nonzero((pixels[..., 0] > 150) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90))
    assert page.facts.placement.on_page(*red(page)) == pytest.approx(
        (columns.mean() * 72 / 150, rows.mean() * 72 / 150), abs=3
    )


def test_a_part_of_a_page_is_that_part(render: object, tmp_path: Path) -> None:
    shown = printed(tmp_path / "scan.pdf", 90)
    part = render(tmp_path / "scan.pdf", View(turn=270, top=0.0, bottom=0.5))  # type: ignore[operator]
    assert part.facts.placement.on_page(*red(part)) == pytest.approx(shown, abs=3)
    assert red(part)[1] == pytest.approx(2 * SPOT[1] / 842, abs=0.01)
