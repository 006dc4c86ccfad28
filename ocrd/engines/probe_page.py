"""A page that ocrd makes itself, to see whether an engine reads."""

from ocrd.model import PageImage, PageSizer, PixelSize

TEST_TEXT = "ocrd reads this page"


def test_page(sizer: PageSizer) -> PageImage:
    """Draw TEST_TEXT in large black letters on a white sheet of A6 landscape, at the size that the engine wants."""
    from PIL import Image, ImageDraw, ImageFont

    size: PixelSize = sizer(420.0, 298.0)  # A6 in points
    image = Image.new("RGB", (size.width, size.height), "white")
    font = ImageFont.load_default(size=size.width / 15)
    ImageDraw.Draw(image).text((size.width / 10, size.height / 3), TEST_TEXT, fill="black", font=font)
    return PageImage(0, size, image.tobytes(), dpi=size.width / 420 * 72)


test_page.__test__ = False  # type: ignore[attr-defined]  # pytest, this is no test
