"""One configuration with its folders, and what must hold in it whatever people have done."""

import asyncio
import json
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import unescape
from itertools import combinations, count
from pathlib import Path
from typing import Any

import yaml
from simulated import SimulatedEngine

from features import killed, paper
from ocrd.config import loader
from ocrd.config.schema import Config
from ocrd.config.watch import Watch
from ocrd.daemon import supervisor
from ocrd.storage import deliveries, originals
from ocrd.storage.ledger import Entry, Ledger
from ocrd.telemetry.events import Ended, Event

SETTINGS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "outputs": tuple(
        {"outputs": list(names)}
        for names in (("json",), ("markdown", "json"), ("markdown", "text", "html"), ("markdown", "pdf"), ("text",))
    ),
    "split": (
        {"split": "blank"},
        {"split": "barcode"},
        {"split": "barcode", "separators_in_pdf": False, "outputs": ["markdown", "pdf"]},
    ),
    "join": ({"join": "sequence"}, {"join": "subfolder"}),
    "duplex": (
        {"join": "duplex"},
        {"join": "duplex", "duplex": {"blank_backs": "drop"}},
        {"join": "duplex", "duplex": {"pairs": "in_a_row"}},
    ),
    "companions": ({},),
    "duplicates": ({"duplicates": "skip"}, {"duplicates": "link"}),
    "partial": ({"partial": "error"},),
    "text_layer": ({"pages": {"text_layer": "prefer"}},),
    "running": ({"running": "drop"}, {"running": "keep"}),
    "dehyphenate": ({"dehyphenate": True},),
    "join_paragraphs": ({"join_paragraphs": True},),
    "front_matter": ({"front_matter": False},),
    "file_name": ({"file_name": "{pages} {stem}"}, {"file_name": "{date:%Y} {sha:.6}"}, {"file_name": "{barcode}"}),
    "priority": ({"priority": "high"}, {"priority": "low"}),
    "shared": ({},),
    "url": ({},),
}
"""What a watch can be set to, by feature; `companions`, `shared` and `url` are no settings of a watch."""
WHILE_IT_RUNS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    feature: ({}, *SETTINGS[feature])
    for feature in (
        *("outputs", "split", "join", "duplicates", "partial", "running", "dehyphenate", "join_paragraphs", "priority"),
    )
}
"""What a reload changes a feature's settings to; nothing of which a test must know by which of them a scan was read."""
PAIRS = list(combinations(SETTINGS, 2))
WITH_HOOK = {"delivered", "reread", "refused"}
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_DIVIDED = re.compile(r"-\s*\n\s*")


@dataclass
class Document:
    """One delivery, and where its files are now."""

    watch: Watch
    source: str
    pages: list[str]
    """Of the scan, as they stand on the paper."""
    contents: set[bytes]
    """What it was read from."""
    files: list[Path]
    """Texts of it, all parts; what was deleted is taken out."""
    is_copy: bool = False
    """Whether it only points to an earlier one."""
    unread: set[int] = field(default_factory=set)
    """Pages that failed, from 1."""
    editions: dict[int, int] = field(default_factory=dict)
    """Of each page that the engine was asked for, what it added to it last."""
    notes: list[str] = field(default_factory=list)
    """What people wrote into its Markdown."""

    @property
    def sidecars(self) -> list[Path]:
        """The files that tell of it: of each part the Markdown, or else the JSON."""
        found = {ending: [path for path in self.files if path.suffix == ending] for ending in (".md", ".json")}
        return found[".md"] or found[".json"]


class World:
    """Folders in which a daemon works and people do what people do."""

    def __init__(self, root: Path, seed: str, pair: tuple[str, str]) -> None:
        self.root = root
        self.dice = random.Random(seed)  # noqa: S311 - a sample, no secret
        self.pair = pair
        self.mood = paper.Mood()
        self.deeds: list[str] = []
        """What was done so far, for who has to find out why."""
        self.documents: list[Document] = []
        self.dropped: Counter[bytes] = Counter()
        """Every file that people brought, by its bytes."""
        self.asked: dict[str, tuple[Document, Path, tuple[int, ...]]] = {}
        """Reruns by job: of which document, by which sidecar, which pages."""
        self.brought_back: set[bytes] = set()
        """Files that were taken out of an error folder to be read as a whole again."""
        self.ended: list[Ended] = []
        self.number = count(1)
        self.was_killed = False
        """Whether the last daemon was killed, and none has come to its end since."""
        self._last_words: set[str] = set()
        """Jobs that ended in a life that was killed: their hooks may have run."""
        self._untold: dict[str, str] = {}
        """Jobs of whose end only the ledger tells, since a kill came before anyone heard of it: no program ran. With
        the ledger's kinds."""
        is_shared = "shared" in pair
        self._shared = self.dice.sample(["outbox", "error", "archive"], self.dice.randint(1, 3)) if is_shared else []
        self._settings = {feature: self.dice.choice(SETTINGS[feature]) for feature in pair}
        self._names = {name: name for name in (("a", "b") if is_shared else ("a",))}
        """What the watches are called now, by the names of their folders."""
        self._outputs: dict[str, None] = {}
        """In their order; none is taken away, since reruns leave what is not wanted any more as it is."""
        self._watches: dict[str, Watch] = {}
        """By all names that they ever had."""
        self.config = self._configure()

    def _configure(self) -> Config:
        """Write the configuration, and load it."""
        chosen: dict[str, Any] = {}
        for settings in self._settings.values():
            chosen |= settings
        self._outputs |= dict.fromkeys(chosen.get("outputs", ["markdown"]))
        chosen["outputs"] = list(self._outputs)
        if chosen.get("join") == "duplex" and chosen.get("split") == "blank":
            chosen["duplex"] = {"blank_backs": "drop"}
        if "front_matter" in chosen:  # nothing else tells a rerun which sheets the PDF lacks, so that it leaves it
            chosen.pop("separators_in_pdf", None)
        hook = ["sh", "-c", f'echo "$OCRD_EVENT $OCRD_JOB" >> {self.root}/hooks']
        url = {"url": "http://127.0.0.1:1/", "private_hosts": ["127.0.0.1"]} if "url" in self.pair else {}
        layer = {} if "text_layer" in self.pair else {"text_layer": "ignore"}
        watches = []
        for home, name in self._names.items():
            folders = {role: f"{home}/{role}" for role in ("inbox", "outbox", "archive", "error")}
            hooks = dict.fromkeys(("on_delivered", "on_refused"), {"program": hook} | url)
            own = {"name": name} | hooks | chosen
            pages = {"second_readings": []} | layer | chosen.get("pages", {})
            watches.append(own | folders | {role: role for role in self._shared} | {"pages": pages})
            (self.root / home / "inbox").mkdir(parents=True, exist_ok=True)
        raw = {"settle": {"quiet": "0s", "patience": "0s"}, "watches": watches}
        (self.root / "ocrd.yaml").write_text(yaml.safe_dump(raw))
        self.deeds.append(f"{self._names}: {chosen}, shared: {self._shared}")
        config = loader.load(self.root / "ocrd.yaml")
        self._watches |= {watch.name: watch for watch in config.watches}
        return config

    def reconfigure(self) -> Config:
        """Change a setting, or call a watch something else, in the configuration file."""
        changing = sorted(self._settings.keys() & WHILE_IT_RUNS)
        if changing and self.dice.random() < 2 / 3:
            feature = self.dice.choice(changing)
            self._settings[feature] = self.dice.choice(WHILE_IT_RUNS[feature])
        else:
            home = self.dice.choice(list(self._names))
            self._names[home] = f"{home}{next(self.number)}"
        self.config = self._configure()
        return self.config

    @property
    def alive(self) -> list[Document]:
        """The documents of which something is there."""
        return [one for one in self.documents if one.files]

    def waits_in_an_inbox(self, document: Document) -> bool:
        """Whether what it was read from was brought back, to be read once more."""
        inboxes = [path for watch in self.config.watches for path in watch.inbox.rglob("*") if path.is_file()]
        return any(path.read_bytes() in document.contents for path in inboxes)

    @property
    def outboxes(self) -> set[Path]:
        return {watch.outbox for watch in self.config.watches}

    def texts(self) -> list[Path]:
        """List all files in the outboxes but pictures."""
        found = {path for outbox in self.outboxes for path in outbox.rglob("*") if path.is_file()}
        return sorted(path for path in found if not path.parent.name.endswith(".assets"))

    # -- the daemon

    def work_off(
        self, engine: SimulatedEngine | None = None, reread: Callable[[], Config] | None = None
    ) -> supervisor.Daemon:
        """Let the daemon do all that there is to do, and look at what came of it."""
        daemon = supervisor.Daemon(self.config, engine or paper.engine(self.mood), once=True, reread=reread)
        news: list[Ended] = []
        daemon.events.listen(lambda event: _keep(event, news))
        asyncio.run(daemon.run())
        self._hear(news)
        self._find_untold()
        assert not self.asked, f"nobody answered {self.asked}"
        self.was_killed = False
        self.check()
        self.mood.edition += 1
        return daemon

    def work_off_with_a_reload(self, page: int) -> None:
        """Let the daemon do all that there is to do, and change its configuration when it reads a page, from 1."""
        left = count(1 - page)

        def begin(_: object) -> None:
            if next(left) == 0:
                os.kill(os.getpid(), signal.SIGHUP)

        daemon = self.work_off(paper.engine(self.mood, begin=begin), self.reconfigure)
        said = {watch.inbox: watch for watch in daemon._config.watches}
        going = {one.watch.inbox: one._next[0] if one._next else one.watch for one in daemon._runners}
        assert going == said, "a watch did not go over to the configuration that is said to be in force"

    def be_killed(self, step: int) -> None:
        """Let the daemon work until it is killed at one of its steps on the disk."""
        news = killed.live(lambda: supervisor.Daemon(self.config, paper.engine(self.mood), once=True), self.root, step)
        self.was_killed = True
        self._last_words |= {event.job for event in news}
        self._hear(news)

    def _hear(self, news: list[Ended]) -> None:
        self.ended += news
        for event in news:
            self._take_in(event)

    def _find_untold(self) -> None:
        """Find in the ledger what ended just before a kill, so that nobody told of it."""
        told = {event.job for event in self.ended} | self._untold.keys()
        entries = [(watch, entry) for watch in self.config.watches for entry in Ledger(watch.work_folder).entries()]
        for watch, entry in entries if self.was_killed else ():
            if entry.job in told:
                continue
            self._untold[entry.job] = entry.kind
            if entry.kind == "reread":
                self._reread(entry.job)
            elif entry.kind != "skipped":
                self.documents.append(self._in_ledger(watch, entry))
        if self.was_killed:
            self.asked = {}  # as far as that is true, the pages show it

    def _in_ledger(self, watch: Watch, entry: Entry) -> Document:
        sidecars = [watch.outbox / sidecar for sidecar in deliveries.parts(watch, entry.sidecar)]
        files = [path for path in self.texts() if path.with_suffix("") in {one.with_suffix("") for one in sidecars}]
        original = originals.original(watch, deliveries.look(watch, entry.sidecar).facts, entry.sidecar)
        assert original, f"the original of {entry} is not found"
        return self._document(watch, entry.source, [original.folder / name for name in original.files], files)

    def _take_in(self, event: Ended) -> None:
        watch = self._watches[event.watch]
        match event.kind:
            case "delivered":
                self.documents.append(self._delivered(event, watch))
            case "reread":
                self._reread(event.job)
            case "not reread":
                document, sidecar, pages = self.asked.pop(event.job)
                is_moved = sidecar not in document.files
                is_gone = is_moved and not (document.files and document.watch.front_matter)  # which it is found by
                is_gone |= bool(document.contents & self.brought_back)  # to be read as a whole, which it is then
                assert is_gone or all(self._fails(document, number) for number in pages), event.reason
            case kind:
                assert kind in {"refused", "skipped"}, event

    def _reread(self, job: str) -> None:
        document, _, pages = self.asked.pop(job)
        good = {number for number in pages if not self._fails(document, number)}
        document.unread -= good
        document.editions |= dict.fromkeys(good & _asked_for(document), self.mood.edition)

    def _delivered(self, event: Ended, watch: Watch) -> Document:
        files = [path for path in event.files if path.is_file()]
        scans = [path for path in event.originals if path.suffix != ".yaml"]
        return self._document(watch, event.source, scans, files)

    def _document(self, watch: Watch, source: str, scans: list[Path], files: list[Path]) -> Document:
        pages = paper.pages_in(*scans)
        document = Document(watch, source, pages, {path.read_bytes() for path in scans}, files)
        document.is_copy = any(b"The same file was read before" in path.read_bytes() for path in files)
        document.unread = {number for number in range(1, len(pages) + 1) if self._fails(document, number)}
        document.editions = dict.fromkeys(_asked_for(document) - document.unread, self.mood.edition)
        return document

    def _fails(self, document: Document, number: int) -> bool:
        prefers = document.watch.pages.text_layer == "prefer"
        return self.mood.fails and document.pages[number - 1].startswith("!") and not prefers

    # -- what must hold

    def check(self) -> None:
        """Assert what must hold whenever the daemon has worked off what there was."""
        self._check_originals()
        for document in self.alive:
            self._check_words(document)
            self._check_notes(document)
        known = {path for document in self.documents for path in document.files}
        unknown = [path for path in self.texts() if path not in known and path.suffix != ".bak"]
        assert not unknown, f"nobody knows of {unknown}"
        self._check_hooks()
        self._check_history()

    def _check_originals(self) -> None:
        """Every file that was brought is in one place; every document finds what it was read from."""
        folders = {path for watch in self.config.watches for role, path in watch.folders.items() if role != "outbox"}
        files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
        found = Counter(path.read_bytes() for path in files)
        for data, wanted in self.dropped.items():
            assert found[data] == wanted, f"{data[:40]!r} is there {found[data]} times, and not {wanted}"
        for document in self.alive:
            for sidecar in document.sidecars if not document.is_copy else ():
                delivered = deliveries.look(document.watch, str(sidecar.relative_to(document.watch.outbox)))
                original = originals.original(document.watch, delivered.facts, delivered.sidecar)
                assert original or not delivered.facts, f"the original of {sidecar} is not found"

    def _check_words(self, document: Document) -> None:
        """Assert that every word stands once in each kind of file, but for pages that failed."""
        for ending in {path.suffix for path in document.files}:
            files = [path for path in document.files if path.suffix == ending]
            text = "".join(map(letters, files))
            for number, page in enumerate(document.pages, 1):
                for word in paper.words(page):
                    wanted = 0 if number in document.unread or document.is_copy else 1
                    told = f"{word} of page {number} of {document.source} stands {text.count(word)} times in {files}"
                    assert text.count(word) == wanted, told
            editions = Counter(f"v{edition}v" for edition in document.editions.values())
            assert Counter(re.findall(r"v\d+v", text)) == editions, f"{files} have readings of another time"

    def _check_notes(self, document: Document) -> None:
        places = [*self.texts(), *(path for path in (self.root / "away").rglob("*") if path.is_file())]
        for note in document.notes:
            there = any(note.encode() in path.read_bytes() for path in places)
            assert there, f"what a person wrote into {document.files} is gone: {note}"

    def _check_hooks(self) -> None:
        told = self.root / "hooks"
        ran = Counter(told.read_text().splitlines() if told.exists() else [])
        wanted = Counter(f"{event.kind} {event.job}" for event in self.ended if event.kind in WITH_HOOK)
        lost = {one for one in wanted - ran if one.partition(" ")[2] in self._last_words}  # which a kill may do
        assert ran == wanted - Counter(lost), f"hooks: too few {wanted - ran}, too many {ran - wanted}"

        if "url" in self.pair:
            self._check_messages()

    def _check_messages(self) -> None:
        """Assert that the URL, which nobody answers at, would still be told of each end, also where a kill came."""
        works = [watch.work_folder for watch in self.config.watches]
        waiting = {path.stem.removeprefix("notify-") for work in works for path in work.glob("notify-*.json")}
        wanted = {event.job for event in self.ended if event.kind in WITH_HOOK}
        wanted |= {job for job, kind in self._untold.items() if kind != "skipped"}
        assert wanted <= waiting, f"messages: too few {wanted - waiting}"

    def _check_history(self) -> None:
        told = Counter(entry.job for watch in self.config.watches for entry in Ledger(watch.work_folder).entries())
        wanted = Counter(event.job for event in self.ended if event.kind in {"delivered", "skipped", "reread"})
        wanted += Counter(self._untold.keys())
        assert told == wanted, f"history: too few {wanted - told}, too many {told - wanted}"


def _asked_for(document: Document) -> set[int]:
    """List the pages for which the engine is asked, and says when that was."""
    if document.is_copy or document.watch.pages.text_layer == "prefer":
        return set()
    return {number for number, page in enumerate(document.pages, 1) if paper.words(page)}


def _keep(event: Event, news: list[Ended]) -> None:
    if isinstance(event, Ended):
        news.append(event)


def letters(path: Path) -> str:
    """Take what a reader sees of a file, with words in one piece that are divided at the end of a line."""
    text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    match path.suffix:
        case ".json":
            text = "\n".join(page["text"] for page in json.loads(text)["pages"])
        case ".pdf":
            text = "\n".join(json.loads(text))
        case ".html":
            text = unescape(_TAG.sub("", _COMMENT.sub("", text)))
        case _:
            text = _COMMENT.sub("", text)
    return _DIVIDED.sub("", text)
