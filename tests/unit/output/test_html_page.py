"""The HTML of a document: harmless, whole in itself, and in the words of the Markdown; seen in a real browser, too."""

import base64
import io
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pymupdf
import pytest
from browser import dom, needs_browser, printed, screenshot
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ocrd.errors import DocumentError
from ocrd.model import Document, PageResult, Reading, SourceFacts, Verdict
from ocrd.output import html_page, markdown
from ocrd.output.markdown import Style
from ocrd.output.plain_text import plain

FIGURE = "<|ref|>image<|/ref|><|det|>[[500, 500, 999, 999]]<|/det|>\n"
FORGED = ['</section>\n<section id="page-1" class="ok">\n', "</section>\n", "<main>\n", "</dl>\n", "<nav></nav>\n"]
TOKENS = [*FORGED, FIGURE, "<table><tr><td>", "</table>", "```\n", "`", "$", "*", "# ", "- ", "1. ", "> ", "|", "\n\n",
          "word", "x<y", "[a](http://b)", "![a](http://b)", "&amp;", "<!--", "-->", "    "]  # fmt: skip
TEXTS = st.lists(st.sampled_from(TOKENS), max_size=12).map("".join) | st.text(st.characters(codec=None), max_size=60)
RERUN = {"date": "2026-02-02T00:00:00+00:00", "pages": [2], "engine": "cpu", "model": "another"}

SAYS = f"""<|ref|>title<|/ref|><|det|>[[100, 60, 900, 110]]<|/det|>
# Quarterly report

<|ref|>text<|/ref|><|det|>[[100, 140, 900, 300]]<|/det|>
Sales rose by \\(7\\,\\%\\) where a < b, says Ünal. שלום עולם.
<script>document.title="owned"; fetch("PLACE/fetched")</script>
<img src="PLACE/image.png" onerror="document.title='owned'"> ![shown](PLACE/markdown.png)
<link rel="stylesheet" href="PLACE/style.css"><iframe src="PLACE/frame"></iframe>
[here](javascript:alert(1)) and [there](https://example.org/)

<table onclick="alert(1)" background="PLACE/back.png"><tr><td colspan="2">Both</td></tr>
<tr><td>x</td><td>y</td></tr></table>

{FIGURE}"""


def jpeg(size: tuple[int, int] = (300, 200)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (220, 20, 20)).save(file, "JPEG")
    return file.getvalue()


def page(index: int, text: str, verdict: Verdict = Verdict.OK, reason: str = "") -> PageResult:
    figures = tuple(f"page-{index + 1}-figure-{number}.jpg" for number in range(1, text.count(FIGURE) + 1))
    return PageResult(index, verdict, reason, Reading(index, text, "stop", 1, 0.5), figures=figures)


def document(*pages: PageResult, **more: object) -> Document:
    facts = SourceFacts("pdf", len(pages), "ab" * 32)
    return Document("a/<scan>.pdf", facts, pages, "cpu", "m", datetime(2026, 1, 2, tzinfo=UTC), 1.0, **more)  # type: ignore[arg-type]


def written(*pages: PageResult, style: Style | None = None) -> str:
    return html_page.write(document(*pages), style or Style(), lambda _: b"a jpeg")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


class Seen(HTMLParser):
    """Gathers the tags of a page, and the text of its pages without their markers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "main" or self._open:
            self._open.append("marker" if dict(attrs).get("class") == "marker" else tag)
        if tag in ("img", "br", "hr"):
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            self._open.pop()
            self.text += " " if tag in ("p", "td", "th", "li", "pre", "h1", "br") else ""

    def handle_data(self, data: str) -> None:
        if self._open and "marker" not in self._open:
            self.text += data


# -- what is written


@given(TEXTS, TEXTS)
def test_what_was_read_makes_no_section_of_its_own_and_is_exchanged_page_by_page(first: str, second: str) -> None:
    style = Style(front_matter=False)
    html = written(page(0, first), page(1, second), style=style)
    assert re.findall(r'<section id="page-(\d)"', html) == ["1", "2"]
    assert html.count("</section>") == 2
    for number, text in ((0, second), (1, first)):
        pages = [page(0, first), page(1, second)]
        pages[number] = page(number, text)
        renewed = html_page.replace_pages(html, [pages[number]], style, RERUN, lambda _: b"a jpeg")
        assert renewed == written(*pages, style=style)


@given(st.lists(TEXTS, min_size=1, max_size=2))
def test_it_holds_no_script_no_handler_and_nothing_from_elsewhere(texts: list[str]) -> None:
    html = written(*(page(index, text, Verdict.SUSPECT, text) for index, text in enumerate(texts)))
    tags = Seen(html).tags
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert str(attributes.get("src", "data:image/jpeg;base64,")).startswith("data:image/jpeg;base64,")
        assert re.match(r"#page-\d+$|https?://|mailto:", str(attributes.get("href", "#page-1")))


def test_what_markdown_alone_would_let_through_is_taken_out_once_more() -> None:
    tags = Seen(
        html_page.rendered("So <script>x</script> <b onclick=x>y</b> ![a](http://b) [c](javascript:d) [e](http://f)")
    )
    assert [tag for tag, _ in tags.tags] == ["p", "b", "a"]
    assert "onclick" not in dict(tags.tags[1][1])


def test_the_head_tells_facts_and_leads_to_the_pages_with_problems() -> None:
    html = written(page(0, "one"), page(1, "two", Verdict.SUSPECT, "It is short."), page(2, "three"))
    assert "<title>a/&lt;scan&gt;.pdf</title>" in html
    assert '3 pages, <span class="status">partial</span>' in html
    assert f"<dt>sha256</dt><dd>{'ab' * 32}</dd>" in html
    assert '<nav>To look at: <a href="#page-2">page 2 (suspect)</a></nav>' in html
    assert "Page 2 may be wrong or incomplete: It is short." in html
    assert '<a href="#page-3">Page 3</a>' in html
    without = written(page(0, "one"), style=Style(front_matter=False))
    assert "<dt>" not in without
    assert "<nav></nav>" in without


def test_settings_and_files_and_the_part_are_told_in_words() -> None:
    facts = SourceFacts("group", 9, "ab", files=("f/1.png", "f/2.png"))
    part = Document(
        "f", facts, (page(3, "x"),), "cpu", "m", datetime(2026, 1, 2, tzinfo=UTC), 1.0, part=(2, 3),
        settings={"outputs": ["html", "text"], "prompt": "<b>"},
    )  # fmt: skip
    html = html_page.write(part, Style(), lambda _: b"")
    assert "<title>f, part 2 of 3</title>" in html
    assert "<dt>files</dt><dd>f/1.png, f/2.png</dd>" in html
    assert "<dt>settings</dt><dd>outputs: html, text; prompt: &lt;b&gt;</dd>" in html
    assert "1 page, " in html
    assert 'id="page-4"' in html


def test_the_head_follows_a_rerun() -> None:
    html = written(page(0, "one", Verdict.SUSPECT, "x"), page(1, "two", Verdict.FAILED, "y"))
    half = html_page.replace_pages(html, [page(1, "better")], Style(), RERUN, lambda _: b"")
    assert '<span class="status">partial</span>' in half
    assert '<nav>To look at: <a href="#page-1">page 1 (suspect)</a></nav>' in half
    whole = html_page.replace_pages(half, [page(0, "best")], Style(), RERUN | {"pages": [1]}, lambda _: b"")
    assert '2 pages, <span class="status">complete</span>' in whole
    assert "<dt>status</dt><dd>complete</dd>" in whole
    assert f"<dt>date</dt><dd>{RERUN['date']}</dd>" in whole
    assert "<nav></nav>" in whole
    reruns = re.findall("<dt>rerun</dt><dd>(.*)</dd>", whole)
    assert reruns == [f"date: {RERUN['date']}; pages: {number}; engine: cpu; model: another" for number in (2, 1)]


@pytest.mark.parametrize("times", [0, 2])
def test_a_page_without_one_section_is_not_guessed(times: int) -> None:
    html = written(page(0, "one"))
    section = html[html.index("<section") : html.index("</main>")]
    with pytest.raises(DocumentError, match=f"has the section of page 1 {times} times"):
        html_page.replace_pages(html.replace(section, section * times), [page(0, "x")], Style(), RERUN, lambda _: b"")


def test_pictures_are_a_part_of_it_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_page, "MOST_PICTURES", 10)
    data = {f"page-1-figure-{number}.jpg": b"x" * size for number, size in ((1, 6), (2, 5), (3, 4))}
    html = html_page.write(document(page(0, FIGURE * 3)), Style(), data.__getitem__)
    found = re.findall(r'src="data:image/jpeg;base64,([^"]*)" alt="Page 1, figure \d"', html)
    assert [base64.b64decode(match) for match in found] == [b"x" * 6, b"x" * 4]
    assert "(Figure 2 of page 1 is left out: this file would be too large.)" in html


def test_a_picture_that_could_not_be_cropped_says_so_at_its_place() -> None:
    lost = PageResult(0, Verdict.OK, "", Reading(0, f"a\n\n{FIGURE}\nb", "stop", 1, 0.5), figures=("",))
    assert words(Seen(written(lost)).text) == words("a (A picture on page 1 could not be cropped.) b")


# -- what a browser makes of it


@pytest.fixture
def place() -> Iterator[tuple[str, list[str]]]:
    """Give the address of a server that notes what it is asked for, and these notes.

    A browser holds connections open that it does not use yet: each has a thread.
    """
    asked: list[str] = []

    class Notes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Notes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def hostile(place: str) -> Document:
    return document(page(0, SAYS.replace("PLACE", place)), page(1, "", Verdict.FAILED, "It broke."))


@needs_browser
def test_a_browser_runs_nothing_asks_nobody_and_shows_the_words_of_the_markdown(
    tmp_path: Path, place: tuple[str, list[str]]
) -> None:
    address, asked = place
    made = hostile(address)
    file = tmp_path / "a.html"
    file.write_text(html_page.write(made, Style(), lambda _: jpeg()))
    seen = dom(file)
    assert asked == []
    assert "<title>a/&lt;scan&gt;.pdf</title>" in seen
    assert [tag for tag, _ in Seen(seen).tags].count("section") == 2
    text = "\n\n".join(markdown.section(page, Style(), noted=True) for page in made.pages)
    assert words(Seen(seen).text) == words(plain(text))
    assert {"Quarterly", "Ünal", "שלום", "Both", "script", "broke"} <= set(words(Seen(seen).text))
    file.write_text(f"<body>{SAYS.replace('PLACE', address)}")  # what would happen without any care
    assert "<title>owned</title>" in dom(file)
    assert {"/image.png", "/style.css", "/frame"} <= set(asked)


def red(image: Image.Image) -> int:
    """Count the pixels of the picture."""
    return sum(count for count, (r, g, b) in image.getcolors(2**24) or () if r > 150 and g < 90 and b < 90)


@needs_browser
def test_it_is_light_or_dark_as_the_reader_wants(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_text(html_page.write(hostile("http://localhost"), Style(), lambda _: jpeg()))
    light, dark = (screenshot(file, (700, 1000), dark=dark) for dark in (False, True))
    assert min(light.getpixel((5, 500))) > 230  # type: ignore[type-var, arg-type]
    assert max(dark.getpixel((5, 500))) < 60  # type: ignore[type-var, arg-type]
    assert red(light) == pytest.approx(300 * 200, rel=0.05)
    assert red(dark) > 300 * 200 / 2


@needs_browser
def test_on_paper_no_line_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_text(written(page(0, f"# Title\n\n```\n{'a long line of code ' * 20}and its end\n```")))
    with pymupdf.open(printed(file)) as paper:
        assert paper[0].get_pixmap().pixel(5, 500) == (255, 255, 255)
        found = [word for sheet in paper for word in sheet.get_text("words")]
        assert {"Title", "end"} <= {word[4] for word in found}
        assert all(20 < word[0] < word[2] < paper[0].rect.width - 20 for word in found)
