"""`ocrd rerun`: some pages of a delivered document, read again."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymupdf
import pytest
import yaml
from house import House, stop, wait_for
from PIL import Image

from ocrd.commands.rerun import parse
from ocrd.config.watch import Watch
from ocrd.errors import DocumentError
from ocrd.model import FileStamp, PageResult, Reading, Verdict
from ocrd.output import front_matter, json_file, markdown, plain_text
from ocrd.output.markdown import Style
from ocrd.storage import originals, rerun_requests, spool
from ocrd.storage.job import JobRecord, Rerun

TOLD = {"date": "2026-02-02T00:00:00+00:00", "pages": [2], "engine": "simulated", "model": "other"}
FIGURE = "<|ref|>image<|/ref|><|det|>[[500, 500, 999, 999]]<|/det|>\n"
TEXT = "<|ref|>text<|/ref|><|det|>[[80, 50, 900, 100]]<|/det|>\n"


def front(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load(path.read_text().split("---\n")[1])
    return facts


def result(number: int, text: str, verdict: Verdict = Verdict.OK, reason: str = "") -> PageResult:
    return PageResult(number - 1, verdict, reason, Reading(number - 1, text, "stop", 1, 0.0))


# -- the list of pages


@pytest.mark.parametrize(
    ("told", "pages"),
    [
        ("7", ((7, 7),)),
        ("7,12-15", ((7, 7), (12, 15))),
        (" 3 - 4 , 1", ((3, 4), (1, 1))),
        ("5-", ((5, None),)),
    ],
)
def test_pages_are_numbers_and_ranges(told: str, pages: tuple[tuple[int, int | None], ...]) -> None:
    assert parse(told) == pages


@pytest.mark.parametrize("told", ["", "0", "5-3", "a", "1,,2", "0-", "-3", "1-2-3", "²", "1-999999", "1;2"])
def test_a_list_that_is_none_is_told_with_its_part(told: str) -> None:
    with pytest.raises(DocumentError, match="is no page and no range of pages"):
        parse(told)


@pytest.mark.parametrize(
    ("sidecar", "pages"), [("/etc/a.md", (1,)), ("../a.md", (1,)), ("", (1,)), ("a.md", ()), ("a.md", (0,))]
)
def test_a_request_can_not_lead_out_of_the_outbox(sidecar: str, pages: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Rerun(sidecar, pages)


# -- pages exchanged in a text


def test_only_the_section_of_the_page_changes_and_the_front_matter_tells_of_it() -> None:
    facts = {
        "source": "a.pdf",
        "sha256": "00",
        "pages": 3,
        "status": "partial",
        "date": "2026-01-01T00:00:00+00:00",
        "problems": [{"page": 2, "verdict": "suspect", "reason": "x"}],
        "tags": ["mine"],
    }
    pages = (
        "\nMy remark.\n",
        "<!-- page 1 -->\n\nMy  page 1 \n",
        "<!-- page 2 -->\n\nbad\n",
        "<!-- page 3 -->\n\n3\n\n\nend",
    )
    before = "\n".join([front_matter.front_matter(facts).rstrip("\n"), *pages])
    after = markdown.replace_pages(before, [result(2, "good")], Style(), TOLD, "a")
    assert after.split("---\n", 2)[2] == before.split("---\n", 2)[2].replace("bad", "good")
    assert yaml.safe_load(after.split("---\n")[1]) == facts | {
        "status": "complete",
        "date": TOLD["date"],
        "problems": [],
        "reruns": [TOLD],
    }
    worse = markdown.replace_pages(after, [result(3, "3", Verdict.SUSPECT, "y")], Style(), TOLD, "a")
    again = yaml.safe_load(worse.split("---\n")[1])
    assert (again["status"], again["problems"]) == ("partial", [{"page": 3, "verdict": "suspect", "reason": "y"}])
    assert again["reruns"] == [TOLD, TOLD]
    assert "> *Page 3 may be wrong or incomplete: y.*\n\n3\n" in worse


def test_a_marker_within_a_paragraph_gets_a_line_of_its_own_only_at_the_page_that_changed() -> None:
    before = "<!-- page 1 -->\n\none <!-- page 2 --> goes <!-- page 3 --> on <!-- page 4 --> and on\n"
    after = markdown.replace_pages(before, [result(2, "new")], Style(front_matter=False), TOLD, "a")
    assert after == "<!-- page 1 -->\n\none\n\n<!-- page 2 -->\n\nnew\n\n<!-- page 3 -->\n\non <!-- page 4 --> and on\n"


def test_a_sidecar_of_another_system_keeps_its_line_ends_elsewhere() -> None:
    before = "<!-- page 1 -->\r\n\r\none\r\n\r\n<!-- page 2 -->\r\n\r\ntwo\r\n"
    after = markdown.replace_pages(before, [result(2, "new")], Style(), TOLD, "a")
    assert after == "<!-- page 1 -->\r\n\r\none\r\n\r\n<!-- page 2 -->\n\nnew\n"


@pytest.mark.parametrize("text", ["<!-- page 1 -->\n\none\n", "<!-- page 2 -->\n\ntwo\n\n<!-- page 2 -->\n\ntwo\n"])
def test_a_page_without_one_marker_is_not_guessed(text: str) -> None:
    with pytest.raises(DocumentError, match=r"the marker of page 2 [02] times"):
        markdown.replace_pages(text, [result(2, "new")], Style(), TOLD, "a")


def test_a_damaged_front_matter_is_told() -> None:
    with pytest.raises(DocumentError, match="front matter of the sidecar is damaged"):
        markdown.replace_pages("---\n: [\n---\n<!-- page 2 -->\n", [result(2, "new")], Style(), TOLD, "a")


def test_text_and_json_that_are_not_ours_are_told() -> None:
    with pytest.raises(DocumentError, match=r"has 2 pages between form feeds, and the sidecar 3"):
        plain_text.replace_pages("one\n\ftwo\n", [result(2, "new")], [1, 2, 3], Style())
    for text in ("{", "[]", '{"form": 99}', '{"form": 1, "pages": [{"page": 1}]}'):
        with pytest.raises(DocumentError, match="not what ocrd wrote"):
            json_file.replace_pages(text, [result(2, "new")], TOLD)


# -- the whole way


def deliver(house: House, name: str = "sub/a.pdf", pages: int = 4) -> None:
    house.path("inbox/sub").mkdir(exist_ok=True)
    house.drop(name, pages)
    assert house.start("once").wait(120) == 0


def test_once_reads_only_these_pages_again_and_keeps_the_old_sidecar(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(fail_page=2)
    deliver(house)
    sidecar = house.path("outbox/sub/a.md")
    sidecar.write_text(
        sidecar.read_text().replace("page 1\n", "page 1, my words\n").replace("page 2\n", "page 2, lost\n")
    )
    old = sidecar.read_bytes()
    assert front(sidecar)["status"] == "partial"
    original = house.path("archive/sub/a.pdf")
    before = FileStamp.of(original.stat())
    house.tally.unlink()
    house.configure(says="better")
    told = ocrd("rerun", "sub/a.pdf", "--pages", "2-3")
    assert (told.returncode, told.stderr) == (0, "")
    assert str(sidecar) in told.stdout
    assert told.stdout.endswith("No ocrd runs now: it is read at the next start, or by `ocrd once`.\n")
    assert house.start("once").wait(120) == 0
    assert sorted(house.reads()) == [1, 2]
    text = sidecar.read_text()
    assert text.count("better") == 2
    assert "page 1, my words\n" in text
    assert "page 2, lost" not in text
    assert "\npage 4\n" in text
    assert front_matter.pages_of(text) == [1, 2, 3, 4]
    facts = front(sidecar)
    assert (facts["status"], facts["problems"], facts["reruns"][0]["pages"]) == ("complete", [], [2, 3])
    assert house.files("outbox") == ["sub/a.md", "sub/a.md.bak"]
    assert house.path("outbox/sub/a.md.bak").read_bytes() == old
    assert FileStamp.of(original.stat()) == before
    [line] = house.events("reread")
    assert (line["pages"], line["status"], line["path"]) == (2, "complete", str(sidecar))
    assert not [path for path in house.path(".inbox.ocrd-work").iterdir() if "ledger" not in path.name]
    history = ocrd("history").stdout.splitlines()
    assert ["delivered" in history[0], "reread" in history[1], len(history)] == [True, True, 2]


def test_the_daemon_takes_a_request_at_once_and_a_taken_name_is_left(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(watch={"on_delivered": ["sh", "-c", f"echo $OCRD_EVENT $OCRD_PAGES >> {house.root}/hook"]})
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    house.drop("a.pdf", 2)
    wait_for(lambda: house.events("delivered"))
    house.path("outbox/a.md.bak").write_text("mine")
    told = ocrd("rerun", "a", "--pages", "1")
    assert (told.returncode, "No ocrd runs" in told.stdout) == (0, False)
    wait_for(lambda: house.events("reread"), 50)  # before the next look through the work folder, a minute later
    assert house.files("outbox") == ["a.md", "a.md (2).bak", "a.md.bak"]
    assert house.path("outbox/a.md.bak").read_text() == "mine"
    wait_for(lambda: (house.root / "hook").read_text().split() == ["delivered", "2", "reread", "1"])
    assert stop(daemon) == 0
    assert house.events("paused") == house.events("defect") == []


def test_what_lies_beside_the_sidecar_follows(house: House, ocrd: Callable[..., Any]) -> None:
    watch = {"outputs": ["markdown", "json", "text", "html", "pdf"]}
    house.configure(watch=watch, says=f"{TEXT}before\n\n{FIGURE}")
    deliver(house, "a.pdf", 3)
    [old] = [path for path in house.files("outbox") if "page-2" in path]
    figure = house.path(f"outbox/{old}").read_bytes()
    house.configure(watch=watch, says=f"{TEXT}after\n\n{FIGURE}")
    assert ocrd("rerun", "a.md", "--pages", "2").returncode == 0
    assert house.start("once").wait(120) == 0
    [new] = [path for path in house.files("outbox") if "page-2-2" in path]
    assert house.path(f"outbox/{old}").read_bytes() == figure, "the kept sidecar shows it"
    assert new in house.path("outbox/a.md").read_text()
    assert old in house.path("outbox/a.md.bak").read_text()
    told = json.loads(house.path("outbox/a.json").read_text())
    assert [page["read"][len(TEXT) :].split()[0] for page in told["pages"]] == ["before", "after", "before"]
    assert told["pages"][1]["figures"] == [Path(new).name]
    assert house.path("outbox/a.txt").read_text() == "before\n\fafter\n\fbefore\n"
    before, after = (house.path(f"outbox/a.html{ending}").read_text() for ending in (".bak", ""))
    assert all(words in after for words in ("<p>before</p>", "<p>after</p>", "<dt>rerun</dt>"))
    assert "<p>after</p>" not in before
    assert before.count("data:image/jpeg;base64,") == after.count("data:image/jpeg;base64,") == 3
    with pymupdf.open(house.path("outbox/a.pdf")) as pdf, pymupdf.open(house.path("archive/a.pdf")) as source:
        assert ["after" in page.get_text() for page in pdf] == [False, True, False]
        assert ["before" in page.get_text() for page in pdf] == [True, False, True]
        assert [page.get_pixmap().samples for page in pdf] == [page.get_pixmap().samples for page in source]
    assert {f"a{ending}.bak" for ending in (".md", ".json", ".txt", ".html", ".pdf")} <= set(house.files("outbox"))


def test_a_file_that_a_rerun_does_not_change_is_not_kept_a_second_time(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(watch={"outputs": ["markdown", "text"]}, says="the same")
    deliver(house, "a.pdf", 2)
    assert ocrd("rerun", "a", "--pages", "2").returncode == 0
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["a.md", "a.md.bak", "a.txt"]


def test_json_alone_and_no_front_matter_are_enough(house: House, ocrd: Callable[..., Any]) -> None:
    for name, watch in (("a", {"outputs": ["json"]}), ("b", {"front_matter": False})):
        house.configure(watch=watch)
        deliver(house, f"{name}.pdf", 2)
        house.configure(watch=watch, says="better")
        assert ocrd("rerun", name, "--pages", "2").returncode == 0
        assert house.start("once").wait(120) == 0
    assert [page["text"] for page in json.loads(house.path("outbox/a.json").read_text())["pages"]] == [
        "page 1",
        "better",
    ]
    assert house.path("outbox/b.md").read_text() == "<!-- page 1 -->\n\npage 1\n\n<!-- page 2 -->\n\nbetter\n"


@pytest.mark.parametrize("trouble", ["page fails", "original gone", "marker gone", "sidecar gone"])
def test_a_rerun_that_fails_leaves_all_as_it_was_and_says_so(
    house: House, ocrd: Callable[..., Any], trouble: str
) -> None:
    deliver(house, "a.pdf", 3)
    sidecar = house.path("outbox/a.md")
    if trouble == "page fails":
        house.configure(fail_page=1)
    assert ocrd("rerun", "a.pdf", "--pages", "2").returncode == 0
    if trouble == "original gone":
        house.path("archive/a.pdf").rename(house.root / "a.pdf")
    if trouble == "marker gone":
        sidecar.write_text(sidecar.read_text().replace("<!-- page 2 -->", ""))
    if trouble == "sidecar gone":
        sidecar.rename(house.root / "a.md")
    before = {name: house.path(f"outbox/{name}").read_bytes() for name in house.files("outbox")}
    assert house.start("once").wait(120) == 65
    assert {name: house.path(f"outbox/{name}").read_bytes() for name in house.files("outbox")} == before
    [line] = house.events("not reread")
    expected = {
        "page fails": "Page 2 could not be read",
        "original gone": "is neither in",
        "marker gone": "marker of page 2 0 times",
        "sidecar gone": "There is no file",
    }
    assert expected[trouble] in str(line["reason"])
    assert not list(house.path(".inbox.ocrd-work").glob("2*"))


def test_names_and_pages_that_fit_nothing_are_told(house: House, ocrd: Callable[..., Any]) -> None:
    deliver(house, "a.pdf", 2)
    deliver(house, "a.pdf", 2)
    refused = {
        ("b.pdf", "1"): "There is no sidecar of b.pdf in",
        ("../archive/a.pdf", "1"): "There is no sidecar of",
        ("a.pdf", "1"): "can mean several",
        ("a.md", "1,3-4"): "has no page 3, 4; the last that it has is 2",
        ("a.md", "x"): "'x' in --pages 'x' is no page",
    }
    for (name, pages), words in refused.items():
        told = ocrd("rerun", name, "--pages", pages)
        assert (told.returncode, words in told.stderr) == (65, True), told.stderr
    assert ocrd("rerun", str(house.path("outbox/a (2).md")), "--pages", "1").returncode == 0
    house.path("archive/a.pdf").unlink()
    assert "is neither in" in ocrd("rerun", "a.md", "--pages", "1").stderr


def test_a_link_in_the_archive_is_not_read(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(watch={"front_matter": False})
    deliver(house, "a.pdf", 2)
    secret = house.root / "secret.pdf"
    house.path("archive/a.pdf").rename(secret)
    assert "is neither in" in ocrd("rerun", "a", "--pages", "1").stderr
    shutil.copy(secret, house.path("archive/a.pdf"))
    assert ocrd("rerun", "a", "--pages", "1").returncode == 0
    house.path("archive/a.pdf").unlink()
    house.path("archive/a.pdf").symlink_to(secret)
    house.tally.unlink()
    assert house.start("once").wait(120) == 65
    assert house.reads() == []


def test_pages_read_before_a_stop_are_not_read_again(house: House, ocrd: Callable[..., Any]) -> None:
    deliver(house, "a.pdf", 6)
    house.tally.unlink()
    house.configure(seconds=0.4, window=1)
    assert ocrd("rerun", "a", "--pages", "1-6").returncode == 0
    daemon = house.start()
    wait_for(lambda: len(house.reads()) >= 5)  # three at a time
    daemon.kill()
    daemon.wait()
    house.tally.unlink()
    assert house.start("once").wait(120) == 0
    assert len(house.reads()) <= 4
    assert house.files("outbox") == ["a.md", "a.md.bak"]


@pytest.mark.parametrize("request_", [b"", b"{}", b"[]", b'{"watch": 1}', b'{"stamp": 0, "members": [0]}', "link"])
def test_a_request_that_can_not_be_read_is_told_and_goes(tmp_path: Path, request_: bytes | str) -> None:
    for name in ("inbox", "work"):
        (tmp_path / name).mkdir()
    path = tmp_path / "work/rerun-20260101T000000-abcdef.json"
    path.write_bytes(request_) if isinstance(request_, bytes) else path.symlink_to("/etc/passwd")
    assert spool.Spool("scans", tmp_path / "inbox", tmp_path / "work").adopt() == []
    assert os.listdir(tmp_path / "work") == []


def test_a_request_becomes_a_job_that_the_next_start_finds(tmp_path: Path) -> None:
    for name in ("inbox", "work"):
        (tmp_path / name).mkdir()
    record = JobRecord("forged", "a.pdf", FileStamp(1, 2, 3, 4), attempts=7, rerun=Rerun("a.md", (2, 3)))
    job = rerun_requests.ask(tmp_path / "work", record)
    house = spool.Spool("scans", tmp_path / "inbox", tmp_path / "work")
    [adopted] = house.adopt()
    assert os.listdir(tmp_path / "work") == [job]
    [recovered] = house.recover()
    assert recovered.record == adopted.record == JobRecord("scans", "a.pdf", record.stamp, rerun=record.rerun)
    assert house.adopt() == []


# -- originals of several files


@pytest.mark.parametrize(
    ("join", "names"), [("subfolder", ["f/1.png", "f/2.png", "f/10.png"]), ("sequence", ["f-1.png", "f-2.png"])]
)
def test_pages_of_images_that_became_one_document(
    house: House, ocrd: Callable[..., Any], join: str, names: list[str]
) -> None:
    house.configure(watch={"join": join})
    for grey, name in enumerate(names):
        house.path(f"archive/{name}").parent.mkdir(parents=True, exist_ok=True)
        house.path(f"inbox/{name}").parent.mkdir(parents=True, exist_ok=True)
        inked(house.path(f"inbox/{name}"), grey)
    inked(house.path(f"archive/{names[0]}"), 9)  # a stranger's
    assert house.start("once").wait(120) == 0
    mine = [name.replace("f", "f (2)", 1) for name in names]
    assert house.files("archive") == sorted([names[0], *mine])
    house.configure(watch={"join": join}, says="better")
    asked = ocrd("rerun", "f", "--pages", "2", "-c", house.root / "ocrd.yaml")
    assert asked.returncode == 0, asked.stderr
    assert house.start("once").wait(120) == 0
    [line] = house.events("reread")
    assert line["pages"] == 1
    assert house.path("outbox/f.md").read_text().count("better") == 1
    assert [one["pages"] for one in front(house.path("outbox/f.md"))["reruns"]] == [[2]]
    assert house.files("archive") == sorted([names[0], *mine])
    assert not [path for path in house.path(".inbox.ocrd-work").iterdir() if "ledger" not in path.name]
    inked(house.path(f"archive/{mine[1]}"), 8)  # another image in its place is not read for it
    assert ocrd("rerun", "f", "--pages", "2", "-c", house.root / "ocrd.yaml").returncode == 65


def inked(path: Path, grey: int) -> None:
    """Make an image that is not blank."""
    image = Image.new("L", (300, 400), 255)
    image.paste(grey, (40, 40, 260, 200))
    image.save(path)


def test_facts_lead_no_search_out_of_the_folders(house: House) -> None:
    watch = Watch(**{"name": "w"} | {role: str(house.path(role)) for role in ("inbox", "outbox", "archive", "error")})
    house.path("archive").mkdir()
    inked(house.root / "away-1.png", 0)
    inked(house.path("archive/a-1.png"), 0)
    for source, files in (("../../away", ["../../away-1.png"]), ("a", ["a-1.png", "../../away-1.png"]), ("a", [{}])):
        assert originals.original(watch, {"source": source, "files": files}, "a.md") is None


def test_what_a_companion_set_counts_again(house: House, ocrd: Callable[..., Any]) -> None:
    house.path("inbox/a.pdf.ocrd.yaml").write_text("outputs: [markdown, text]\n")
    deliver(house, "a.pdf", 2)
    assert house.files("archive") == ["a.pdf", "a.pdf.ocrd.yaml"]
    house.configure(says="better")
    assert ocrd("rerun", "a", "--pages", "2").returncode == 0
    assert house.start("once").wait(120) == 0
    assert house.path("outbox/a.txt").read_text() == "page 1\n\fbetter\n"
    assert front(house.path("outbox/a.md"))["settings"] == {"outputs": ["markdown", "text"]}


def test_what_a_companion_set_counts_again_also_where_the_document_tells_nothing(
    house: House, ocrd: Callable[..., Any]
) -> None:
    house.path("inbox/a.pdf.ocrd.yaml").write_text("outputs: [markdown, text]\n")
    house.configure(watch={"front_matter": False})
    deliver(house, "a.pdf", 2)
    house.configure(watch={"front_matter": False}, says="better")
    once_again(house, ocrd)
    assert house.path("outbox/a.txt").read_text() == "page 1\n\fbetter\n"


@pytest.mark.parametrize("outputs", [["markdown"], ["json"]])
def test_all_pages_the_rest_or_those_with_problems_are_read_again(
    house: House, ocrd: Callable[..., Any], outputs: list[str]
) -> None:
    house.configure(watch={"outputs": outputs, "pages": {"second_readings": [], "text_layer": "ignore"}}, fail_page=1)
    house.drop("a.pdf", pages=4)
    house.drop("long.pdf", pages=101)
    assert house.start("once").wait(120) == 0

    def asked(name: str, pages: str, *options: str) -> list[int]:
        told = ocrd("rerun", name, "--pages", pages, *options)
        assert (told.returncode, told.stderr) == (0, ""), told.stdout
        [request] = house.path(".inbox.ocrd-work").glob("rerun-*.json")
        numbers: list[int] = json.loads(request.read_text())["rerun"]["pages"]
        request.unlink()
        return numbers

    assert asked("a.pdf", "problems") == [2]
    assert asked("a.pdf", "all") == [1, 2, 3, 4]
    assert asked("a.pdf", "1,3-") == [1, 3, 4]
    assert len(asked("long.pdf", "all", "--yes")) == 101
    assert "Read 101 pages again?" in (told := ocrd("rerun", "long.pdf", "--pages", "all")).stdout + told.stderr
    assert told.returncode == 1
    assert not list(house.path(".inbox.ocrd-work").glob("rerun-*.json"))


def once_again(house: House, ocrd: Callable[..., Any], name: str = "a", pages: str = "2", code: int = 0) -> None:
    """Read pages again with what the engine says now."""
    told = ocrd("rerun", name, "--pages", pages)
    assert told.returncode == 0, told.stderr
    assert house.start("once").wait(120) == code


def test_line_ends_and_the_mark_of_another_system_stay(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(watch={"outputs": ["markdown", "text"]})
    deliver(house, "a.pdf", 3)
    for name in ("a.md", "a.txt"):
        path = house.path(f"outbox/{name}")
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    house.configure(watch={"outputs": ["markdown", "text"]}, says="better\nin two lines")
    once_again(house, ocrd)
    for name in ("a.md", "a.txt"):
        data = house.path(f"outbox/{name}").read_bytes()
        assert data.startswith(b"\xef\xbb\xbf")
        assert b"better\r\nin two lines\r\n" in data
        assert data.count(b"\n") == data.count(b"\r\n")
    assert front(house.path("outbox/a.md").with_name("a.md"))["reruns"][0]["pages"] == [2]


def test_a_sidecar_in_utf_16_is_told_as_such(house: House, ocrd: Callable[..., Any]) -> None:
    deliver(house, "a.pdf", 2)
    sidecar = house.path("outbox/a.md")
    text = sidecar.read_text()
    sidecar.write_bytes(text.encode("utf-16"))
    told = ocrd("rerun", "a", "--pages", "2")
    assert (told.returncode, "a.md was saved as UTF-16, and can't be read." in told.stderr) == (65, True), told.stderr
    sidecar.write_bytes(text.encode() + b"\xe9")
    assert "a.md is not UTF-8" in ocrd("rerun", "a", "--pages", "2").stderr


@pytest.mark.parametrize("front_matter", [True, False])
def test_an_original_that_was_changed_by_hand_is_noticed(
    house: House, ocrd: Callable[..., Any], *, front_matter: bool
) -> None:
    house.configure(watch={"front_matter": front_matter})
    deliver(house, "a.pdf", 3)
    archived = house.path("archive/a.pdf")
    with pymupdf.open(archived) as pdf:
        pdf.select([2, 1, 0])
        data = pdf.tobytes()
    archived.write_bytes(data)
    told = ocrd("rerun", "a", "--pages", "2")
    assert told.returncode == 65
    assert f"{archived} is another file, or was changed since" in told.stderr


def test_bookmarks_and_notes_of_the_searchable_pdf_stay(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(watch={"outputs": ["markdown", "pdf"]}, says=f"{TEXT}before")
    deliver(house, "a.pdf", 3)
    delivered = house.path("outbox/a.pdf")
    with pymupdf.open(delivered) as pdf:
        pdf.set_toc([[1, "First", 1], [1, "Second", 2]])
        pdf[1].add_text_annot((50, 50), "My note.")
        data = pdf.tobytes()
    delivered.write_bytes(data)
    house.configure(watch={"outputs": ["markdown", "pdf"]}, says=f"{TEXT}after")
    once_again(house, ocrd)
    with pymupdf.open(delivered) as pdf:
        assert ["after" in page.get_text() for page in pdf] == [False, True, False]
        assert ["before" in page.get_text() for page in pdf] == [True, False, True]
        assert pdf.get_toc() == [[1, "First", 1], [1, "Second", 2]]
        assert [note.info["content"] for note in pdf[1].annots()] == ["My note."]


def test_what_was_kept_before_is_not_kept_twice(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(watch={"front_matter": False})
    deliver(house, "a.pdf", 2)
    for says in ("better", None, "better", None):
        house.configure(watch={"front_matter": False}, **({"says": says} if says else {}))
        once_again(house, ocrd)
    assert house.files("outbox") == ["a.md", "a.md (2).bak", "a.md.bak"]


def test_crops_that_nothing_shows_any_more_go(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(says=f"{TEXT}before\n\n{FIGURE}")
    deliver(house, "a.pdf", 2)
    once_again(house, ocrd)
    first = {name for name in house.files("outbox") if ".assets/" in name}
    assert len(first) == 3, "the sidecar that is kept shows the old one"
    house.path("outbox/a.md.bak").unlink()
    once_again(house, ocrd)
    left = {name for name in house.files("outbox") if ".assets/" in name}
    assert "a.assets/page-2-figure-1.jpg" not in left
    assert "a.assets/page-1-figure-1.jpg" in left
    texts = house.path("outbox/a.md").read_text() + house.path("outbox/a.md.bak").read_text()
    assert all(name.rpartition("/")[2] in texts for name in left)


@pytest.mark.parametrize("outputs", [["markdown"], ["json"]])
def test_names_that_no_terminal_shows_are_found(
    house: House, ocrd: Callable[..., Any], make_pdf: Callable[..., Path], outputs: list[str]
) -> None:
    house.configure(watch={"outputs": outputs})
    names = ("two\nlines", os.fsdecode(b"caf\xe9"))
    for name in names:
        make_pdf(house.path(f"inbox/{name}.pdf"), 2)
    assert house.start("once").wait(120) == 0
    house.configure(watch={"outputs": outputs}, says="better")
    for name in names:
        told = ocrd("rerun", name, "--pages", "2")
        assert (told.returncode, told.stderr) == (0, "")
    assert house.start("once").wait(120) == 0
    ending = ".md" if outputs == ["markdown"] else ".json"
    assert all("better" in house.path(f"outbox/{name}{ending}").read_text() for name in names)


def test_all_pages_with_problems_are_read_again_and_counted(
    house: House, ocrd: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(house.root / "run"))
    pages = {"second_readings": [], "text_layer": "ignore"}
    house.configure(watch={"pages": pages}, fail_page=1)
    for name in ("a.pdf", "sub/b.pdf", "good.pdf"):
        house.drop(name, pages=1 if name == "good.pdf" else 3)
    assert house.start("once").wait(120) == 0
    house.path("archive/a.pdf").unlink()
    house.configure(watch={"pages": pages})
    told = ocrd("rerun", "--problems", "--wait")
    assert "No ocrd runs that would read them now." in told.stderr
    for request in house.path(".inbox.ocrd-work").glob("rerun-*.json"):
        request.unlink()
    before = len(house.events("ready"))
    daemon = house.start()
    wait_for(lambda: len(house.events("ready")) > before)
    told = ocrd("rerun", "--problems", "--wait")
    assert told.returncode == 65, "one original is gone"
    assert "The original of a.md is neither in" in told.stderr
    assert f"1 page of {house.path('outbox/sub/b.md')}" in told.stdout
    assert "Pages with problems: 1 before, 0 now; 1 got better." in told.stdout
    assert "<!-- page 2 -->\n\npage 2\n" in house.path("outbox/sub/b.md").read_text()
    assert stop(daemon) == 0


def test_of_several_documents_each_is_asked_for_and_what_fits_nothing_is_told(
    house: House, ocrd: Callable[..., Any]
) -> None:
    for name in ("a.pdf", "b.pdf"):
        house.drop(name, pages=2)
    assert house.start("once").wait(120) == 0
    told = ocrd("rerun", "a", "nothing", "b", "--pages", "1")
    assert told.returncode == 65
    assert told.stdout.count("Asked for 1 page of") == 2
    assert "There is no sidecar of nothing" in told.stderr
    assert ocrd("rerun", "a").returncode == ocrd("rerun", "--pages", "1").returncode == 2
