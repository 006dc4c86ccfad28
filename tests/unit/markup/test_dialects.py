"""Dialects of models: one page in each is the same page, and whatever an answer is, no word of it is lost."""

import json
import re
import time
from collections.abc import Callable

import pytest
from answers import LABELS, PAGE, SIZE, Part, answer, sentences
from hypothesis import example, given
from hypothesis import strategies as st

from ocrd.markup import dialects, html_structure, layout_blocks
from ocrd.markup.dialects import DIALECTS
from ocrd.markup.layout_blocks import Block
from ocrd.model import Box, PageFacts, PageImage, PageResult, PixelSize, Placement, Reading, Verdict
from ocrd.output import markdown, plain_text
from ocrd.output.markdown import Style
from ocrd.pipeline import fallbacks
from ocrd.quality import verdict

NAMES = sorted(DIALECTS)
PLACED = sorted(DIALECTS.keys() - {"markdown"})
"""Those that say of each block where it stands."""
FOREIGN = sorted(DIALECTS.keys() - {"grounding"})


def blocks(name: str, text: str) -> list[Block]:
    return DIALECTS[name].blocks(text, SIZE)


def judged(name: str, text: str, finish: str = "stop") -> PageResult:
    """Judge an answer as the reading of a page that has as many letters as PAGE."""
    letters = sum(map(str.isalnum, "".join(part.text for part in PAGE)))
    facts = PageFacts(Placement(595, 842), ink=0.05, lines=24, letters=letters)
    said = dialects.normalise(text, name, SIZE)
    reading = Reading(0, said.text, finish, 900, 1.0, missed_dialect=said.missed_dialect)
    return verdict.judge(PageImage(0, SIZE, b"", 0, facts), reading)


def sidecar(name: str, text: str) -> str:
    """Write the Markdown of a page with one figure."""
    reading = Reading(0, DIALECTS[name].form(text, SIZE), "stop", 9, 1.0)
    page = PageResult(0, Verdict.OK, "", reading, figures=("page-1-figure-1.jpg",))
    return "\n\n".join(part.text for part in markdown.page_parts(page, Style()))


def shown(name: str, text: str) -> str:
    return plain_text.plain(sidecar(name, text))


# One page in all of them


@pytest.mark.parametrize("name", PLACED)
def test_one_page_has_the_same_blocks_in_every_dialect(name: str) -> None:
    found = blocks(name, answer(name, PAGE))
    labels = ["text" if name == "det" and label == "list" else label for label in LABELS]  # it has no name for lists
    assert [block.label for block in found] == labels
    for block, part in zip(found, PAGE, strict=True):
        assert block.boxes == (pytest.approx(tuple(side / 1000 for side in part.box), abs=0.002),)


@pytest.mark.parametrize("name", PLACED)
def test_one_page_has_the_same_markdown_in_every_dialect(name: str) -> None:
    assert sidecar(name, answer(name, PAGE)) == (
        "<!-- header -->\nAnnals of the port\n\n# Growth of the harbour\n\n"
        f"{sentences(6)} Its length $x_1$ is known.\n\n## The years after\n\n- the older quay\n\n- the younger quay\n\n"
        "![Page 1, figure 1](\x1aSTEM\x1a.assets/page-1-figure-1.jpg)\n\n*Figure 1. The mole*\n\n"
        "| pears | 7 |\n| --- | --- |\n| plums | 12 |\n\n$$E = mc^2$$\n\n"
        f"{sentences(5, 50)}\n\n<!-- footer -->\nPrinted at the quay"
    ).replace("\x1aSTEM\x1a", markdown.STEM)


def test_a_page_in_markdown_has_its_pictures_at_their_places() -> None:
    found = blocks("markdown", answer("markdown", PAGE))
    assert [block.label for block in found] == ["text", "image", "text"]
    assert found[1].boxes == (pytest.approx((0.08, 0.4, 0.48, 0.6), abs=0.001),)
    text = sidecar("markdown", answer("markdown", PAGE))
    assert "\n\n# Growth of the harbour\n\n" in text
    assert "figure-1.jpg)\n\nFigure 1. The mole\n\n| pears | 7 |" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_good_answer_is_good_and_a_loop_is_not(name: str) -> None:
    good = judged(name, answer(name, PAGE))
    assert (good.verdict, good.reason) == (Verdict.OK, "")
    marching = [Part("text", (80, 20 * n, 900, 20 * n + 15), "The keeper lit the lamp again.") for n in range(1, 45)]
    assert judged(name, answer(name, marching)).verdict is Verdict.REPEATED
    endless = answer(name, [*PAGE[:3], Part("text", (80, 310, 900, 900), sentences(1) + " and on and on" * 80)])
    cut = endless[: endless.rindex("and on and") + 5]
    assert judged(name, cut, "length").verdict is Verdict.REPEATED
    assert judged(name, answer(name, PAGE)[:-200], "length").verdict is Verdict.TRUNCATED


# Another dialect than was expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_an_answer_in_another_dialect_is_read_as_markdown_and_suspect(name: str, other: str) -> None:
    text = answer(other, PAGE)
    expected = {"grounding": {"grounding", "markdown"}, "det": {"det", "grounding"}}.get(name, {name})
    result = judged(name, text)
    assert (result.verdict is Verdict.OK) == (other in expected), result.reason
    if other not in expected:
        assert name in result.reason or result.verdict is Verdict.REPEATED  # tags that are read as words
        assert dialects.normalise(text, name, SIZE).text == DIALECTS["markdown"].form(text, SIZE)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_in_every_dialect(name: str) -> None:
    assert dialects.normalise(" \n", name, SIZE).missed_dialect == ""
    assert blocks(name, " \n") == []


@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - {"grounding", "det"}))  # of their models, tokens
def test_tags_that_are_printed_on_a_page_stay_its_text(name: str) -> None:
    printed = "They write <|ref|>title<|/ref|> for a title."
    tags = "<|ref|>title<|/ref|><|det|>[[1, 2, 300, 400]]<|/det|>"
    said = answer(name, [Part("text", (80, 130, 900, 300), f"{printed} {tags} <|markdown|>")])
    (block,) = blocks(name, said)
    assert (block.label, block.text) == ("text", f"{printed} {tags} <|markdown|>" if name != "html" else block.text)
    assert shown(name, said) == f"{printed} {tags} <|markdown|>"


def without_tokens(text: str) -> str:
    return re.sub(r"<\|/?(?:ref|det)\|>", "", text)


def test_the_tags_of_a_server_that_leaves_special_tokens_out_are_known() -> None:
    whole = answer("grounding", SHORT)
    bare = without_tokens(whole)
    assert "title[[" in bare
    assert blocks("grounding", bare) == blocks("grounding", whole)
    for end in range(len(bare)):
        told = "\n".join(block.text for block in blocks("grounding", bare[:end]))
        assert re.findall(r"Q\w+q", told) == re.findall(r"Q[a-z]+q", bare[:end])
        assert "[[" not in told, bare[:end][-40:]


@pytest.mark.parametrize(
    "said",
    [
        "text[[1, 2, 300, 400]] in a line\nand more",
        "word[[1, 2, 300, 400]]\nand more",
        "The first element:\n\ntext[[1]]",  # as in R
        "list[[2, 1]]",
        "# Mathematica\n\n- one\n\nlist[[1, 2, 3, 4]]\n\n- two",
    ],
)
def test_what_is_no_tag_without_its_tokens_stays_text(said: str) -> None:
    assert blocks("grounding", said) == blocks("markdown", said)


def test_a_page_may_begin_with_text_before_its_tags() -> None:
    said = "".join(
        f"\n<|ref|>text<|/ref|><|det|>[[1, {top}, 1000, {top + 9}]]<|/det|>\nQ{top}q\n" for top in (10, 20, 30)
    )
    assert blocks("grounding", "before" + without_tokens(said)) == blocks("grounding", f"before{said}")


def test_what_looks_so_in_an_answer_with_its_tokens_stays_text() -> None:
    printed = "text[[1, 2, 300, 400]]"
    (block,) = blocks("grounding", f"<|ref|>text<|/ref|><|det|>[[5, 6, 700, 800]]<|/det|>\n{printed}\n")
    assert block.text.strip() == printed


def test_a_reading_of_an_earlier_record_is_in_the_form_that_it_always_was() -> None:
    record = {"index": 0, "text": "a", "finish_reason": "stop", "tokens": 1, "seconds": 0.5}
    assert Reading.from_json(record) == Reading(0, "a", "stop", 1, 0.5)
    missed = PageResult(0, Verdict.SUSPECT, "", Reading(0, "a", "stop", 1, 0.5, missed_dialect="html"))
    assert PageResult.from_json(json.loads(json.dumps(missed.to_json()))) == missed


@pytest.mark.parametrize("name", PLACED)
def test_halves_are_joined_in_every_dialect_and_their_boxes_brought_to_the_page(name: str) -> None:
    upper = dialects.normalise(answer(name, [Part("text", (100, 0, 900, 1000), "Upper ⟨x_1⟩.")]), name, SIZE)
    lower = dialects.normalise(answer(name, [Part("title", (100, 0, 900, 500), "Lower")]), name, SIZE)
    for text, labels in (
        (fallbacks.joined(upper.text, lower.text), "text title"),
        (fallbacks.joined("", lower.text), "title"),
    ):
        found = layout_blocks.parse(text)
        assert " ".join(block.label for block in found) == labels
        assert {block.own_markdown for block in found} == {name in ("markdown-places", "layout-json")}
    assert found[-1].boxes == (pytest.approx((0.1, 0.45, 0.9, 0.725), abs=0.002),)


# Cut off anywhere

SHORT = [
    Part("title", (80, 56, 900, 110), "Qtitleq"),
    Part("text", (80, 130, 900, 300), "Qoneq ⟨x_1⟩ Qtwoq, Qthreeq"),
    Part("item", (80, 350, 900, 370), "Qitemq"),
    Part("picture", (80, 400, 480, 600)),
    Part("caption", (80, 610, 480, 630), "Qcaptionq"),
    Part("table", (80, 640, 900, 720), "Qcellq|7"),
    Part("formula", (80, 730, 900, 760), "E = mc^2"),
    Part("footer", (400, 950, 600, 970), "Qfooterq"),
]
LEFT = {
    "grounding": r"<[|]|[|]>|det|ref|\[\[",
    "det": r"<[|]|[|]>|det|\[\d",
    "markdown": r"bbox|<img",
    "markdown-places": r"!\[|\]\(|\d,\d",
    "html": r"data-|<(?!/?(?:t|tab|tabl|table|tr|td)\b)|\d{2} \d{2}",
    "layout-json": r'bbox|categ|"|\}|\{|\[\d|\\n',
    "doctags": r"loc_|<(?!/?(?:table|tr|td)\b)|_item|_list|cel>",
}
"""What a dialect has around the words."""


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_that_is_cut_off_anywhere_is_read_as_far_as_it_goes(name: str) -> None:
    whole = answer(name, SHORT)
    for end in range(len(whole) + 1):
        told = "\n".join(block.text for block in blocks(name, whole[:end]))
        assert re.findall(r"Q\w+q", told) == re.findall(r"Q[a-z]+q", whole[:end])
        assert not re.search(LEFT[name], told), whole[:end][-40:]


# Whatever is said

MARKS = {
    "grounding": ["<|ref|>text<|/ref|>", "<|det|>[[1, 2, 30, 40]]<|/det|>"],
    "det": [
        "<|det|>title [64, 56, 945, 131]<|/det|>", "<|det|>text<|/det|>", "<|det|>", "<|/det|>",
        "<|det|>[[1, 2, 3, 4]]", "<|ref|>text<|/ref|>", "[1, 2", "<|det|>image [1, 2, 3",
    ],
    "markdown": [
        '<img src="images/bbox_1_2_30_40.jpg" />', "![x](page_1_2_30_40.png)", "<img", "![", "](bbox_1_2_30_40.jpg)",
        "```", "---\nprimary_language: en\n---\n", "![image](image_1.png)1,2,3,4",
        "<table><tr><td>", "</table>", "$", "$$", "#", "**",
    ],
    "markdown-places": [
        "\n![text](1,2,30,40)", "\n![image](1,2,30,40)", "\n![text+](40,2,80,40)", "\n![text+](", "![", "](1,2,3,4)",
        "<table>", "$", "`",
    ],
    "html": [
        '<div data-bbox="1 2 30 40" data-label="Text">', "<div data-label='Image'>", "</div>", "<p>", "</p>", "<h2>",
        "<ul><li>", "</ul>", "<math>", "</math>", "<pre>", "</pre>", "<table><tr><td>", "</table>", "&lt;div&gt;", "*",
        "<input type='checkbox'>", "<x>",
    ],
    "layout-json": [
        '[{"bbox": [1, 2, 30, 40],', '"category": "Text", "text": "', '"}', "},{", '"text": ', '"', "\\", "\\n", "[",
        "]", "null", '{"bbox": [1, 2', "```json\n", ",",
    ],
    "doctags": [
        "<doctag>", "<text>", "</text>", "<loc_1><loc_2><loc_300><loc_400>", "<loc_7>", "<otsl>", "<fcel>", "<lcel>",
        "<nl>", "</otsl>", "<caption>", "</caption>", "<picture><logo>", "</picture>", "<inline>", "<formula>",
        "<code>", "</inline>", "<ordered_list>", "<list_item>", "<section_header_level_2>", "<key_0>", "*",
    ],
}  # fmt: skip
COMMON = ["\n", "\n\n", "<", ">", "|", "&", "{", "}"]


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_no_word_is_lost_whatever_stands_around_it(name: str, data: st.DataObject) -> None:
    marks = data.draw(st.lists(st.sampled_from(MARKS[name] + COMMON), max_size=14))
    words = [f"Q{number}q" for number in range(len(marks))]
    said = "".join(f"{mark} {word}\n" for mark, word in zip(marks, words, strict=True))
    told = "".join(block.text for block in blocks(name, f"{said} the end"))
    assert sorted(re.findall(r"Q\d+q", told)) == sorted(words)
    shown(name, said)


HTML_TAG = re.compile(rf"</?(?:{'|'.join(html_structure._KNOWN)})(?:\s[^<>]*)?/?>", re.IGNORECASE)


@pytest.mark.parametrize("name", FOREIGN)
@given(text=st.text(max_size=60))
@example(text="<|")
@example(text="<MAIN>")
@example(text="<|ref|>a<|/ref|>")
@example(text="&lt;|ref|&gt;")
def test_whatever_is_said_comes_apart(name: str, text: str) -> None:
    told = "".join(block.text for block in blocks(name, text + "\n"))
    if name == "html":
        text = HTML_TAG.sub(" ", text)
    if name != "det":  # in which tokens are steering
        assert set(re.findall(r"[^\W_]{3,}", text)) <= set(re.findall(r"[^\W_]{3,}", told))
    assert isinstance(dialects.normalise(text, name, SIZE).text, str)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=60).map(str.strip)


@given(text=TEXTS)
@example(text='He said "ten", and "more": \\alpha \\\\ {x} [1] "}')
@example(text="\\u00e9 \\n")
def test_a_string_in_json_is_read_as_json_has_it(text: str) -> None:
    for ascii_only in (True, False):
        layout = [{"bbox": [1, 2, 300, 400], "category": "Text", "text": text} for _ in range(2)]
        found = layout_blocks.parse(DIALECTS["layout-json"].form(json.dumps(layout, ensure_ascii=ascii_only), SIZE))
        assert [block.text for block in found] in (
            [text] * 2,
            [layout_blocks.parse(text)[0].text] * 2 if text else [""] * 2,  # rows of tables in it
        )


@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(sorted(layout_blocks.LABELS)),
            st.lists(st.tuples(*[st.integers(0, 499)] * 2, *[st.integers(500, 999)] * 2), max_size=2),
            st.text("ab <|>/refdtmk[]12,\n", max_size=40).map(lambda text: text.strip("\n")),
        ),
        max_size=4,
    ),
    own=st.booleans(),
)
def test_what_is_written_of_blocks_comes_apart_into_them(
    parts: list[tuple[str, list[tuple[int, ...]], str]], *, own: bool
) -> None:
    made = [
        Block(label, tuple(Box(*(side / 999 for side in box)) for box in boxes), text, own)
        for label, boxes, text in parts
    ]
    found = layout_blocks.parse(layout_blocks.written(made))
    kept = [block for block in made if block.boxes or block.text.strip()]
    assert found == kept


# What each has of its own


@pytest.mark.parametrize(
    ("said", "label", "text"),
    [
        ("<|det|>subtitle [1, 2, 30, 40]<|/det|>One", "sub_title", "One"),
        (
            "<|det|>table [1, 2, 30, 40]<|/det|><table><tr><td>1</td></tr></table>",
            "table",
            "<table><tr><td>1</td></tr></table>",
        ),
        ("<|det|>text [[1, 2, 30, 40]]<|/det|>One", "text", "text [[1, 2, 30, 40]]One"),
        ("<|ref|>title<|/ref|><|det|>[[1, 2, 30, 40]]<|/det|>\nOne", "title", "One"),
    ],
)
def test_det_only_tags(said: str, label: str, text: str) -> None:
    (block,) = blocks("det", said)
    assert (block.label, block.text) == (label, text)


def test_olmocrs_head_is_none_of_the_page_and_its_figures_are_where_it_says() -> None:
    head = "---\nprimary_language: en\nis_rotation_valid: True\nrotation_correction: 0\nis_table: False\n---\n"
    text = "# Title\n\n![A chart of growth](page_124_175_620_877.png)\n\nwords"
    found = blocks("markdown", head + text)
    assert [(block.label, block.text) for block in found] == [("text", "# Title"), ("image", ""), ("text", "words")]
    assert found[1].boxes == (pytest.approx((0.1, 0.1, 0.6, 0.6), abs=0.001),)
    for end in range(len("---\nprimary_language:"), len(head)):
        assert shown("markdown", head[:end]) == "", head[:end]


def test_a_pictures_place_may_stand_behind_its_name() -> None:
    found = blocks("markdown", "one\n\n![image](image_1.png)100,200,300,400\n\ntwo ![image](image_2.png) and 1,2")
    assert [(block.label, block.text) for block in found] == [
        ("text", "one"),
        ("image", ""),
        ("text", "two ![image](image_2.png) and 1,2"),
    ]
    assert found[1].boxes == (pytest.approx((0.1, 0.2, 0.3, 0.4), abs=0.001),)
    assert shown("markdown", "two ![image](image_2.png) and 1,2") == "two and 1,2"


def test_a_picture_in_a_table_comes_behind_it() -> None:
    table = '<table><tr><td>a<img src="images/bbox_1_2_30_40.jpg"/></td><td>$x_1$</td></tr></table>'
    found = blocks("markdown", f"one\n{table}\ntwo")
    assert [block.label for block in found] == ["text", "image"]
    assert found[0].text == r"one" "\n" r"<table><tr><td>a</td><td>\(x_1\)</td></tr></table>" "\n" "two"


def test_a_label_with_a_plus_goes_on_in_another_place() -> None:
    (block,) = blocks("markdown-places", "![text](10,20,490,900) It goes\n![text+](510,20,990,300) on here.\n")
    assert (len(block.boxes), block.text) == (2, "It goes\non here.")


def test_html_becomes_what_a_block_has() -> None:
    said = (
        '<div data-label="Form" data-bbox="[1, 2, 300, 400]"><p><input type="checkbox" checked/> yes<br/>'
        '<input type="checkbox"> no</p></div>'
        '<div data-bbox="1 2 300 400" data-label="Code-Block"><pre><code>if a &lt; b:\n  *c</code></pre></div>'
        '<div data-bbox="1 2 300 400" data-label="Complex-Block"><p>First *</p><h3>Then</h3><p>More *</p></div>'
        '<div data-bbox="1 2 300 400" data-label="Text">H<sub>2</sub>O, <del>old</del> <chem>C6H6</chem> &lt;p&gt; $5'
        "</div>"
    )
    assert [(block.label, block.text) for block in blocks("html", said)] == [
        ("text", "\u2611 yes<br/>\u2610 no"),
        ("code", "```\nif a < b:\n  *c\n```"),
        ("text", r"First \*"),
        ("sub_title", "### Then\n\nMore \\*"),
        ("text", "H<sub>2</sub>O, <s>old</s> C6H6 &lt;p&gt; $5"),
    ]
    printed = '<div data-bbox="1 2 300 400" data-label="Text"><p># no heading</p><p>+ no item</p></div>'
    assert sidecar("html", printed) == "\\# no heading\n\n\\+ no item"
    assert "### Then\n\nMore \\*\n\nH<sub>2</sub>O, <s>old</s> C6H6 &lt;p> $5" in sidecar("html", said)


def test_what_chandra_says_of_a_picture_is_left_out_but_for_what_is_printed_there() -> None:
    said = (
        '<div data-bbox="10 10 900 300" data-label="Figure"><p><b>(A)</b></p><img alt="Bars of three colours."/>'
        "<p>A chart with four bars.</p><table><tr><td>North</td><td>85</td></tr></table>"
        "<p><b>Fig. 2:</b> Rainfall by month.</p></div>"
        '<div data-bbox="10 310 900 500" data-label="Diagram"><pre>STAFF</pre></div>'
        '<div data-bbox="10 510 900 700" data-label="Diagram"><img alt="x"/><pre>graph LR; A--&gt;B</pre></div>'
    )
    text = sidecar("html", said)
    assert "(A)" in text
    assert "Rainfall by month." in text
    assert "STAFF" in text
    for made_up in ("Bars", "four bars", "85", "graph"):
        assert made_up not in text


def test_bullets_and_lines_that_html_has_are_not_printed_twice() -> None:
    said = (
        '<div data-bbox="1 1 99 99" data-label="List-Group">'
        "<ul><li>\u2022 <b>one</b></li><li>\u00b7 two</li></ul></div>"
        '<div data-bbox="1 100 99 200" data-label="Text"><p>three</p><hr/></div>'
    )
    assert sidecar("html", said) == "- <b>one</b>\n- two\n\nthree"


def test_a_page_that_is_said_to_be_blank_has_no_place_of_anything() -> None:
    assert blocks("html", '<div data-bbox="0 0 1000 1000" data-label="Blank-Page"></div>') == []


def test_html_of_a_hostile_page_is_harmless() -> None:
    said = (
        '<div data-bbox="1 2 300 400" data-label="Text"><script>alert(1)</script><a href="javascript:x">y</a>'
        '<p onclick="z">w</p><!-- page 9 --></div>'
    )
    text = sidecar("html", said)
    assert not re.search(r"<(?:script|a|p|!)|javascript|onclick", text.replace("&lt;", ""))
    assert "alert" in text


def test_json_that_is_none_is_read_field_by_field() -> None:
    said = (
        'Here it is:\n```json\n[{"category": "Text", "bbox": [10, 20, 1240, 877], '
        '"text": "He said "ten" and\nwent, $\\frac{a}{b}$ \\alpha"},\n'
        '{"bbox": [1, 2, 3.5, 4.5], "category": "Formula", "text": "\\\\alpha"}, {"bbox": null, "text": "last"}]\n'
        "```\nThat is all."
    )
    assert [(block.label, block.text) for block in blocks("layout-json", said)] == [
        ("text", "Here it is:"),
        ("text", 'He said "ten" and\nwent, $\\frac{a}{b}$ \\alpha'),
        ("equation", r"\[\alpha\]"),
        ("text", "last"),
        ("text", "That is all."),
    ]


def test_boxes_in_pixels_are_shares_of_the_image_that_the_model_saw() -> None:
    said = '[{"bbox": [620, 877, 1240, 1754], "category": "Picture"}]'
    assert layout_blocks.pictures(dialects.normalise(said, "layout-json", SIZE).text) == [
        pytest.approx((0.5, 0.5, 1.0, 1.0), abs=0.001)
    ]
    assert DIALECTS["layout-json"].blocks(said, PixelSize(0, 0)) == []


def test_docling_lists_captions_code_and_merged_cells() -> None:
    said = (
        "<doctag><ordered_list><list_item><loc_1><loc_2><loc_300><loc_400>one</list_item><list_item>b. two</list_item>"
        "</ordered_list><picture><loc_1><loc_2><loc_300><loc_400><bar_chart><caption>Fig. 1</caption></picture>"
        "<otsl><loc_1><loc_2><loc_300><loc_400><caption>Table 1</caption>"
        "<ched>a<lcel><nl><fcel>b<fcel>p < 5<nl><ucel><fcel>c<nl></otsl>"
        "<code><_Python_>if a < b:\n    pass</code><inline><text>where</text><formula>x_1</formula></inline>"
        "<section_header_level_2>Deep</section_header_level_2><checkbox_selected>yes</checkbox_selected></doctag>"
    )
    assert [(block.label, block.text) for block in blocks("doctags", said)] == [
        ("list", "1. one"),
        ("list", "b. two"),
        ("image", ""),
        ("image_caption", "Fig. 1"),
        ("table_caption", "Table 1"),
        (
            "table",
            (
                '<table><tr><td colspan="2">a</td></tr><tr><td rowspan="2">b</td><td>p &lt; 5</td></tr>'
                "<tr><td>c</td></tr></table>"
            ),
        ),
        ("code", "```python\nif a < b:\n    pass\n```"),
        ("text", r"where \(x_1\)"),
        ("sub_title", "### Deep"),
        ("text", "\u2611 yes"),
    ]


# Time

ENDLESS = {
    "det": ["<|det|>", "<|det|>title [1, ", "<|det|>title [1, 2, 3, 4]<|/det|>a"],
    "markdown": ["<img ", "![a](", "<img bbox_1_2_3_4.jpg>", "<table>", "```\n", "$", "primary_language:\n"],
    "markdown-places": ["![text](1,2", "\n![text](1,2,3,4) a", "\n![text+](1,2,3,4) a", "!["],
    "html": ["<div data-", "<div data-bbox='1 2 3 4'>a", "<math>", "<pre>", "<ul><li>", "<p>", "<"],
    "layout-json": ['"text": "', '{"text": "a"},', '"   ', "\\u", '{"bbox": [', "[{", '"text"    '],
    "doctags": [
        "<text>",
        "<loc_1>",
        "<fcel>",
        "<nl>",
        "<lcel>",
        "<caption>",
        "<inline>",
        "<list_item>a",
        "<picture>a…<x>",
        "<picture>…<x> ",
        "<otsl>…<caption></text>",
    ],
}


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize(("name", "mark"), [(name, mark) for name, marks in ENDLESS.items() for mark in marks])
def test_an_endless_answer_takes_time_in_proportion(name: str, mark: str) -> None:
    head, _, mark = mark.rpartition("…")
    text = head + mark * (100_000 // len(mark))
    assert seconds(lambda: dialects.normalise(text, name, SIZE)) < 3, "a quadratic way takes minutes"
