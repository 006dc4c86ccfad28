"""What engines that let a vision model read have in common."""

from ocrd.config.resolving import shipped
from ocrd.engines import vision_model
from ocrd.model import PixelSize

SIZE = PixelSize(1000, 1000)
CHANDRA = shipped("chandra-2")
IN_ITS_FORM = '<div data-bbox="1 2 30 40" data-label="Text"><p>seen</p></div>'


def test_an_answer_in_another_form_than_was_asked_for_misses_it() -> None:
    assert vision_model.normalised("only text", CHANDRA, CHANDRA.prompt, SIZE).missed_dialect == "html"
    assert vision_model.normalised(IN_ITS_FORM, CHANDRA, CHANDRA.prompt, SIZE).missed_dialect == ""


def test_what_an_owner_asks_may_be_answered_in_any_form() -> None:
    asked = "<image>What is the sum?"
    answer = vision_model.normalised("12.50", CHANDRA, asked, SIZE)
    assert answer.missed_dialect == ""
    assert "12.50" in answer.text
    assert "<|det|>" in vision_model.normalised(IN_ITS_FORM, CHANDRA, asked, SIZE).text
