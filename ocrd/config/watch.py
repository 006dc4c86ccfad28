"""The settings of a watch, and those of them that a companion can set for its scan."""

import os
import re
import socket
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from ocrd.config.duplex import Duplex
from ocrd.config.hooks import Hook, HookOrProgram
from ocrd.config.secret_file import SecretFile
from ocrd.config.units import Duration, Names, Section, Word, at_least
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
