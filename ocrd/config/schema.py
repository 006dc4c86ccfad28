"""The configuration: frozen models, read from YAML strictly. Every setting's description here is its documentation."""

import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from ocrd.config import profile
from ocrd.config.hooks import Hook, HookOrProgram
from ocrd.config.openai import OpenAiSettings
from ocrd.config.secret_file import SecretFile
from ocrd.config.transformers import TransformersSettings
from ocrd.config.units import Duration, Names, Section, Size, Word, at_least
from ocrd.config.vllm import VllmSettings
from ocrd.model import Join
from ocrd.output import document_name, kinds
from ocrd.output.markdown import Style
from ocrd.output.split import Separator


def _located(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be the path of a folder")
    base: Path = (info.context or {}).get("base", Path.cwd())
    try:
        path = base / Path(value).expanduser()
    except RuntimeError as error:  # ~somebody whom this machine does not know
        raise ValueError(f"must be the path of a folder ({error})") from error
    if os.path.normpath(path) == "/":
        raise ValueError("must be the path of a folder, and not the root of the file system")
    return path


def _readable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("must be 1 to 64 letters, digits, '.', '_' or '-', and begin with a letter or digit")
    return value


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must name each one once")
    return values


def _that_bars_can_hold(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not text or text != text.strip() or not text.isprintable():
            raise ValueError(f"must hold texts as barcodes do, without spaces around them; {text!r} would match none")
    return texts


if TYPE_CHECKING:
    OutputName = str
else:
    OutputName = Literal[kinds.NAMES]


Folder = Annotated[
    Path,
    BeforeValidator(_located),
    PlainSerializer(str),
    WithJsonSchema({"type": "string"}),
]
"""A folder; a relative path is taken from the configuration file's own folder."""


_HOST = "{host}"
"""In `work`, what stands for this machine's name."""


@cache
def _host() -> str:
    """Name this machine, the same as long as the process runs: DHCP can give it another."""
    return socket.gethostname()


_OWNER, _READ_WRITE = 0o600, 0o666


def _mode(value: object) -> int:
    """Read `0664` as everybody writes it: YAML 1.1 takes 0664 for octal and 0o664 for a string, and 664 is a slip."""
    digits = value.removeprefix("0o") if isinstance(value, str) else ""
    mode = int(digits, 8) if re.fullmatch("0?[0-7]{3}", digits) else value
    if not isinstance(mode, int) or isinstance(mode, bool) or mode & ~_READ_WRITE or mode < _OWNER:
        raise ValueError(
            "must be permissions in octal, such as 0664: at least 0600, and nothing but reading and writing"
        )
    return mode


FileMode = Annotated[
    int,
    BeforeValidator(_mode),
    PlainSerializer(lambda mode: f"0{mode:o}"),
    WithJsonSchema({"type": ["string", "integer"]}),
]
Outputs = Annotated[tuple[OutputName, ...], Field(strict=False, min_length=1), AfterValidator(_each_once)]


class Cpu(Section):
    """The embedded engine: Tesseract, for a machine without a GPU."""

    languages: Names = Field(
        default=(), description="Languages to read, as Tesseract calls them; empty: all installed ones."
    )
    letters: Literal["tesseract", "rapidocr"] = Field(
        default="tesseract", description="What reads the letters; rapidocr is for Chinese and Japanese."
    )
    workers: int = Field(default=0, ge=0, description="Pages read at the same time; 0: one for each core.")


def _profile(value: str, info: ValidationInfo) -> str:
    if profile.is_path(value):
        base: Path = (info.context or {}).get("base", Path.cwd())
        return str(base / Path(value).expanduser())
    if value not in profile.names():
        raise ValueError(profile.unknown(value))
    return value


ProfileName = Annotated[str, AfterValidator(_profile)]


class Engine(Section):
    """What turns page images into text."""

    kind: str = Field(
        default="vllm",
        pattern=r"^(vllm|openai|transformers|cpu|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$",
        description="vllm (a GPU), openai (servers that run a model), transformers (a GPU or not, where vLLM can't be "
        "installed), cpu (no GPU needed), or package.module:factory for an engine of your own.",
    )
    profile: ProfileName = Field(
        default=profile.DEFAULT,
        description="The model that vllm, transformers or the servers run: "
        f"{', '.join(profile.names())}, where markdown is for any "
        "model that answers in Markdown; or the path of a file of your own that ends in .yaml: `ocrd help profiles`.",
    )
    vllm: VllmSettings = Field(default=VllmSettings(), description=VllmSettings.__doc__)
    openai: OpenAiSettings = Field(default=OpenAiSettings(), description=OpenAiSettings.__doc__)
    transformers: TransformersSettings = Field(default=TransformersSettings(), description=TransformersSettings.__doc__)
    cpu: Cpu = Field(default=Cpu(), description=Cpu.__doc__)
    options: dict[str, Any] = Field(default={}, description="Passed to the factory of an engine of your own.")


class Settle(Section):
    """When a dropped file is taken as complete."""

    quiet: Duration = Field(
        default=3.0, description="Size, time and identity of the file have not changed for this long."
    )
    patience: Duration = Field(
        default=600.0,
        description="A file that looks unfinished, or is held open by a program, is waited for this long since "
        "its last change; `ocrd once` does not wait, and leaves it for the next time.",
    )
    rescan: Annotated[Duration, at_least(0.1, "100ms")] = Field(
        default=60.0,
        description="The inbox is looked through this often, events or not. Where events come and there are more than "
        "100 watches it is less often, in proportion to their number, up to a fifth from 500 on.",
    )
    poll: Annotated[Duration, at_least(0.1, "100ms")] = Field(
        default=5.0, description="The same, where no events can be had: network shares, or a limit of the kernel."
    )


class Batch(Section):
    """When the gathered sources are admitted together; whichever comes first."""

    quiet: Duration = Field(default=2.0, description="No new source for this long.")
    max_wait: Duration = Field(default=10.0, description="The first source has waited this long.")
    max_pages: int = Field(default=512, ge=1, description="This many pages are gathered.")


class Render(Section):
    """The worker processes that turn sources into page images."""

    workers: int = Field(
        default=0,
        ge=0,
        description="How many; 0: one for each core, at most 8, or half of the cores where that is more, at most 32.",
    )
    page_timeout: Annotated[Duration, at_least(0.1, "100ms")] = Field(
        default=60.0,
        description="A page that takes more processor time is given up; a share that stalls is waited for.",
    )
    memory: Annotated[Size, at_least(2**30, "1GiB")] = Field(
        default=2 * 2**30, description="Address space of one worker; more is refused to it."
    )
    images: Annotated[Size, at_least(2**26, "64MiB")] = Field(
        default=2**29, description="Memory for page images on their way to an engine that takes them prepared."
    )

    @property
    def count(self) -> int:
        """How many workers there will be."""
        cores = len(os.sched_getaffinity(0))
        return self.workers or min(cores, max(8, cores // 2), 32)


class Log(Section):
    """The log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level that is shown."
    )
    format: Literal["auto", "console", "json", "journald"] = Field(
        default="auto",
        description="auto: journald under systemd where its module is installed, colours on a terminal, else JSON.",
    )


class Pages(Section):
    """How pages are read."""

    orientation: Annotated[Literal["auto", "off"], Word] = Field(
        default="auto",
        description="auto: pages that lie on their side, stand on their head or are a little askew are set right.",
    )
    text_layer: Literal["ignore", "fallback", "prefer"] = Field(
        default="fallback",
        description="A PDF page's own text. ignore: never used; fallback: readings are checked against it, and it "
        "stands in for a bad one; prefer: where it is sound it is taken, and the engine is not asked.",
    )
    animations: Literal["first", "all"] = Field(
        default="first",
        description="Of a GIF, WebP, PNG or AVIF that moves. first: its first picture is a page; all: each picture is.",
    )
    second_readings: Annotated[
        tuple[Literal["turn", "prompt", "warm", "halves", "text_layer"], ...], Field(strict=False)
    ] = Field(
        default=("turn", "prompt", "warm", "halves", "text_layer"),
        description="What is tried with a page whose reading is bad, in this order, as far as it fits what is wrong: "
        "the other way up, where that is in doubt; the engine's other prompt; a higher temperature; the page in two "
        "halves; the PDF's own text. Empty: nothing.",
    )


_LOOPBACK = re.compile(r"|/.+|(127(\.\d{1,3}){3}|localhost|\[::1\]):\d+")


def _listener(value: str) -> str:
    if not re.fullmatch(r"|/.+|(\d{1,3}(\.\d{1,3}){3}|[a-zA-Z0-9][\w.-]*|\[[0-9a-fA-F:]+\]):\d{1,5}", value):
        raise ValueError("must be an address such as 127.0.0.1:9464, the absolute path of a socket, or empty")
    if not value.startswith("/") and value and not 0 < int(value.rpartition(":")[2]) < 2**16:
        raise ValueError("must have a port from 1 to 65535")
    return value


def _known_to_callers(value: Path | None, info: ValidationInfo) -> Path | None:
    listen = info.data.get("listen", "")
    if value is None and not _LOOPBACK.fullmatch(listen):
        raise ValueError(f"must be set, since metrics.listen is {listen}, which other machines reach")
    return value


class Metrics(Section):
    """Numbers for Prometheus at /metrics, /healthz and /readyz beside it, and a page for a browser at /."""

    listen: Annotated[str, AfterValidator(_listener)] = Field(
        default="",
        description="Where: 127.0.0.1:9464, or the path of a Unix socket such as /run/ocrd/metrics.sock; empty: off. "
        "Where other machines reach it, there has to be a token_file.",
    )
    page: bool = Field(
        default=False,
        description="Whether / shows how things stand, with the names of files, but nothing of what stands on them.",
    )
    reviews: Folder | None = Field(
        default=None,
        description="Folder of review pages (`ocrd review --problems -o FOLDER`) that the page links to and serves. "
        "They show the scans.",
    )
    token_file: Annotated[SecretFile | None, AfterValidator(_known_to_callers)] = Field(
        default=None,
        validate_default=True,
        description="File with what each caller has to say: as a bearer token, or as the password of any user. Nobody "
        "but ocrd's user may read it (chmod 600). credential:NAME is a credential that systemd hands over.",
    )


class Service(Section):
    """How long systemd, or whoever stops ocrd, is kept waiting."""

    drain: Duration = Field(
        default=45.0,
        description="At a stop, pages in flight are finished for at most this long; less than the unit's "
        "TimeoutStopSec.",
    )
    silence: Annotated[Duration, at_least(1, "1s")] = Field(
        default=10 * 60.0,
        description="The engine has had pages for this long and answered to none: the heartbeat ends, and systemd "
        "starts ocrd again.",
    )
    loading: Annotated[Duration, at_least(1, "1s")] = Field(
        default=30 * 60.0, description="The engine is given this long to load, at the start and when it is built anew."
    )


@dataclass(frozen=True, slots=True)
class Side:
    """Which side of a duplex scan a file has, by its name."""

    document: str
    """The name of the scan."""
    is_back: bool


def _side(value: str) -> str:
    if not re.fullmatch(r"\*[^*?\[\]/]{1,32}", value) or value != value.strip() or not value.isprintable():
        raise ValueError("must be * for the name of the scan, with up to 32 characters behind it, such as *-front")
    return value


def _other_side(value: str, info: ValidationInfo) -> str:
    fronts, backs = (one.removeprefix("*").casefold() for one in (info.data.get("fronts", ""), value))
    if fronts and (fronts.endswith(backs) or backs.endswith(fronts)):
        raise ValueError("must tell backs from fronts")
    return value


class Duplex(Section):
    """With `join: duplex`: which two files are fronts and backs, the last back first, and how long one waits alone."""

    pairs: Literal["names", "in_a_row"] = Field(
        default="names",
        description="names: those whose names say so, as fronts and backs have it; in_a_row: also any two of one "
        "folder of which one was written after the other, at most wait later. The first has the fronts.",
    )
    fronts: Annotated[str, AfterValidator(_side)] = Field(
        default="*-front",
        description="How a file of fronts is called, without its ending; * is the name of the scan. Upper and lower "
        "case are the same.",
    )
    backs: Annotated[str, AfterValidator(_side), AfterValidator(_other_side)] = Field(
        default="*-back", validate_default=True, description="The same of a file of backs."
    )
    wait: Duration = Field(default=600.0, description="One side alone waits for the other for this long.")
    alone: Literal["refuse", "read"] = Field(
        default="refuse", description="What happens with one side alone after that: it is refused, or read by itself."
    )
    blank_backs: Literal["keep", "drop"] = Field(
        default="keep",
        description="drop: backs with nothing on them are in no output; the front matter says which. The others keep "
        "their numbers.",
    )

    def side_of(self, stem: str) -> Side | None:
        """Say which side a file of this name, without its ending, has; None if the name does not say."""
        for pattern, is_back in ((self.fronts, False), (self.backs, True)):
            if found := re.fullmatch(f"(.+){re.escape(pattern[1:])}", stem, re.IGNORECASE | re.DOTALL):
                return Side(found[1], is_back)
        return None


def _apart(value: str, info: ValidationInfo) -> str:
    duplex = info.data.get("duplex")
    if value == "blank" and info.data.get("join") == "duplex" and duplex and duplex.blank_backs == "keep":
        raise ValueError(
            "must not be blank with join: duplex, where each blank back would end a document; set "
            "duplex.blank_backs: drop, or split: barcode"
        )
    return value


def _in_the_last_part(value: Path | None) -> Path | None:
    if value and _HOST in str(value.parent):
        raise ValueError(f"must have {_HOST} in its last part only, so that those of all hosts lie side by side")
    return value


class Watch(Section):
    """One flow: an inbox with its outbox, archive and error folder."""

    name: Annotated[str, AfterValidator(_readable_name)] = Field(description="What the log calls it.")
    inbox: Folder = Field(description="Where scans are dropped; subfolders are kept in outbox and archive.")
    outbox: Folder = Field(description="Where the Markdown goes.")
    archive: Folder = Field(description="Where an original goes once its Markdown is delivered.")
    error: Folder = Field(description="Where a source goes that can't be read, with a note that says why.")
    duplicates: Literal["process", "skip", "link"] = Field(
        default="process",
        description="What to do with a file of which the same bytes were delivered before: process reads it again, "
        "skip only archives it, link delivers a sidecar that points to the earlier one.",
    )
    history: bool = Field(
        default=True, description="Keep a ledger of what was delivered, for `ocrd history` and for duplicates."
    )
    include: Names = Field(
        default=(),
        description='Take only sources that match one of these, such as "*.pdf", "invoices/*" or the folder "letters"; '
        "empty: all.",
    )
    exclude: Names = Field(default=(), description="Leave alone what matches one of these, also whole folders.")
    join: Literal["none", "subfolder", "sequence", "duplex"] = Field(
        default="none",
        description="Which files become one document. subfolder: the images in one folder below the "
        "inbox; sequence: images in one folder whose names differ in a number at the end (scan-001.jpg, page (1).jpg, "
        "side1.jpg), which is no date and no camera's name (2026-11-01.jpg, IMG_0012.jpg); duplex: two files, PDFs or "
        "images, of which one has the fronts of the sheets and the other their backs.",
    )
    duplex: Duplex = Field(default=Duplex(), description=Duplex.__doc__)
    work: Annotated[Folder | None, AfterValidator(_in_the_last_part)] = Field(
        default=None,
        description="Where sources are while in work; empty: a hidden folder beside the inbox, on its mount. {host} in "
        "its last part stands for this machine's name: hosts that share an inbox need a work folder each, and find the "
        "others' beside their own.",
    )
    outputs: Outputs = Field(
        default=("markdown",), description=f"What is delivered, under one name: {kinds.in_words()}."
    )
    split: Annotated[Separator, AfterValidator(_apart)] = Field(
        default="none",
        description="Take a scan of several documents apart into NAME-1.md, NAME-2.md …, at blank pages or at sheets "
        "with a barcode. With either, each PDF in a portfolio is a part, too.",
    )
    separators: Annotated[Names, AfterValidator(_that_bars_can_hold)] = Field(
        default=("PATCHT",),
        min_length=1,
        description="Texts of the barcodes (QR, Data Matrix, Code 39, Code 128) that make a page a separator sheet, or "
        "patterns for them such as DOC-*; `ocrd split-sheet` makes one to print. Any other barcode separates nothing.",
    )
    separators_in_pdf: bool = Field(
        default=True,
        description="Whether the PDF of each part has the sheets and blank pages that separate, too. The text tells of "
        "them either way.",
    )
    passwords_file: SecretFile | None = Field(
        default=None,
        description="File with passwords, one a line, that are tried on PDFs that ask for one. Nobody but ocrd's user "
        "may read it (chmod 600). credential:NAME is a credential that systemd hands over (LoadCredential=NAME:PATH).",
    )
    file_name: Annotated[str, AfterValidator(document_name.check)] = Field(
        default=document_name.AS_DROPPED,
        description='What the files of a document are called in outbox and archive, such as "{date:%Y-%m-%d} {stem}". '
        "Fields: stem of the scan's name; date of its last change; watch; folder below the inbox, or else the watch; "
        "barcode, the text of the first one, or else no-barcode; pages, their number; sha, the scan's digest. "
        "{stem} alone leaves names as they are; else they are made safe for any file system.",
    )
    mode: FileMode | None = Field(
        default=None,
        description="Permissions of the files made in outbox and error, such as 0664; folders made there fit. "
        "Empty: as the umask says.",
    )
    group: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="Group of what is made in outbox, archive and error; ocrd's user must belong to it. "
        "Empty: as the system gives it.",
    )
    front_matter: bool = Field(
        default=True,
        description="Begin each sidecar with its facts: source, pages, engine, problems. By them reruns, reviews and "
        "duplicates find a document; without them the ledger and a JSON beside it help, not as far.",
    )
    figures: bool = Field(
        default=True,
        description="Crop the pictures that the engine found into NAME.assets/, and show them in the Markdown and the "
        "HTML.",
    )
    tables: Literal["markdown", "html"] = Field(
        default="markdown",
        description="How tables are written. markdown: as such where they fit one, else as HTML; html: all.",
    )
    running: Literal["mark", "keep", "drop"] = Field(
        default="mark",
        description="Running headers, footers and page numbers. mark: below a comment `<!-- header -->`, `<!-- footer "
        "-->` or `<!-- number -->`; keep: as any text; drop: left out of the Markdown and the text.",
    )
    dehyphenate: bool = Field(default=False, description="Join words that are divided at the end of a line or page.")
    join_paragraphs: bool = Field(
        default=False, description="Join a paragraph that goes on over a page break; the page's marker stands in it."
    )
    join_hyphens: bool = Field(
        default=True,
        description="Take away the space that a model puts behind a hyphen within a word (`long- term`), unless the "
        "PDF's own text has it there.",
    )

    priority: Literal["high", "normal", "low"] = Field(
        default="normal",
        description="Which pages go first to the engine, of watches that wait for it. While all three wait, twelve of "
        "sixteen pages are of high, three of normal and one of low, so that none waits for ever.",
    )
    pages: Pages = Field(default=Pages(), description=Pages.__doc__)
    partial: Literal["archive", "error"] = Field(
        default="archive",
        description="Where an original goes whose Markdown was delivered with pages that have problems.",
    )

    on_delivered: HookOrProgram = Field(
        default=Hook(),
        description="What happens when a document is delivered: a program runs, a URL is told. A list is the program.",
    )
    on_refused: HookOrProgram = Field(default=Hook(), description="The same when a source is refused.")
    hook_timeout: Annotated[Duration, at_least(0.1, "100ms")] = Field(
        default=60.0,
        description="Such a program is ended after this long, and so long a URL's answer is waited for.",
    )
    hook_patience: Duration = Field(
        default=86400.0,
        description="What a URL does not take is sent again for this long since the document's end, after 1 s, 2 s, "
        "4 s … up to 5 min.",
    )

    @property
    def joins(self) -> Join | Duplex:
        """Which files become one document, with the settings for that."""
        return self.duplex if self.join == "duplex" else self.join

    @property
    def style(self) -> Style:
        """How the text of its outputs is written."""
        return Style(
            self.front_matter, self.tables, self.running, self.dehyphenate, self.join_paragraphs, self.join_hyphens
        )

    @property
    def illustrated(self) -> bool:
        """Whether pictures are cropped from the pages."""
        return self.figures and kinds.show_figures(self.outputs)

    @property
    def keeps_ledger(self) -> bool:
        """Whether what is delivered is entered in the ledger."""
        return self.history or self.duplicates != "process"

    @property
    def renames(self) -> bool:
        """Whether files go out under another name than that of their scan."""
        return self.file_name != document_name.AS_DROPPED

    @property
    def looks_for_barcodes(self) -> bool:
        """Whether the text of any barcode is wanted."""
        return document_name.uses_barcode(self.file_name)

    @property
    def rank(self) -> int:
        """Its priority as a number, of which the lowest goes first."""
        return ("high", "normal", "low").index(self.priority)

    @property
    def sheets(self) -> tuple[str, ...]:
        """Texts of barcodes to look for; none where no barcode separates."""
        return self.separators if self.split == "barcode" else ()

    @property
    def folders(self) -> dict[str, Path]:
        """All of its folders, by role."""
        return {
            "inbox": self.inbox,
            "outbox": self.outbox,
            "archive": self.archive,
            "error": self.error,
            "work": self.work_folder,
        }

    @property
    def work_folder(self) -> Path:
        """Where the job folders are."""
        if self.work is None:
            return self.inbox.with_name(f".{self.inbox.name}.ocrd-work")
        return self.work.with_name(self.work.name.replace(_HOST, _host()))

    @property
    def is_among_others(self) -> bool:
        """Whether other daemons may take from the same inbox, with work folders beside its own."""
        return self.work is not None and _HOST in self.work.name


class Options(Section):
    """What a companion can set for its scan; what it leaves out is as the watch and the engine have it."""

    prompt: str | None = Field(
        default=None,
        # Anybody may have written it: no token of the model's own but these two.
        pattern="^[^<]*<image>[^<]*(<[|]grounding[|]>[^<]*)?$",
        max_length=500,
        description="What the model is asked, as engine.vllm.prompt. Not cpu.",
    )
    outputs: Outputs | None = Field(default=None, description="What is delivered, as watches.outputs.")
    languages: Annotated[Names, Field(min_length=1)] | None = Field(
        default=None, description="Languages to read, as engine.cpu.languages. Only cpu."
    )


class Config(Section):
    """The whole file."""

    engine: Engine = Field(default=Engine(), description=Engine.__doc__)
    settle: Settle = Field(default=Settle(), description=Settle.__doc__)
    batch: Batch = Field(default=Batch(), description=Batch.__doc__)
    render: Render = Field(default=Render(), description=Render.__doc__)
    log: Log = Field(default=Log(), description=Log.__doc__)
    metrics: Metrics = Field(default=Metrics(), description=Metrics.__doc__)
    service: Service = Field(default=Service(), description=Service.__doc__)
    max_attempts: int = Field(
        default=3, ge=1, description="A source whose reading ended in an unexplained death this often is refused."
    )
    watches: Annotated[tuple[Watch, ...], Field(strict=False)] = Field(
        min_length=1, description="The folders; as many as you like."
    )
