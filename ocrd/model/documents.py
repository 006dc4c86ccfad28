"""A document: how its source is opened, what that is, and the whole of it once it was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ocrd.model.readings import PageResult


@dataclass(frozen=True, slots=True)
class Opening:
    """How the sources of a watch are opened."""

    passwords: tuple[str, ...] = field(default=(), repr=False)
    """Those that are tried on a PDF that asks for one; never shown."""
    embedded: bool = False
    """Whether the PDFs in a portfolio are read as parts of it."""
    frames: bool = False
    """Whether each picture of an animation is a page, and not only the first."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a source once a worker has opened it."""

    kind: str
    """`pdf`, or the name of the image format in lower case, by content and not by name; `group` for several files,
    `duplex` for one of fronts and one of backs."""
    pages: int
    """Number of pages, at least 1."""
    sha256: str
    """Of the whole file, in hexadecimal; of a group, over the digests of its files in their order."""
    files: tuple[str, ...] = ()
    """Of a group, its files' paths relative to the inbox, as they were dropped."""
    dropped_as: tuple[str, ...] = ()
    """The same where they were given names that show that they belong together, which `files` has then."""
    attachments: tuple[str, ...] = ()
    """Names of files that are attached to a PDF, which are not read."""
    problems: tuple[str, ...] = ()
    """Why its pages may not be all that it holds, each a sentence."""
    parts: tuple[int, ...] = ()
    """Indices of the pages with which another document in it begins."""


def duplex_place(index: int, pages: int) -> tuple[int, int]:
    """Say of a page of a duplex scan of so many pages in which of its files it is, and which page of that; from 0.

    The first file has the fronts, the second the backs, of which the last comes first.
    """
    sheet, side = divmod(index, 2)
    return side, pages // 2 - 1 - sheet if side else sheet


@dataclass(frozen=True, slots=True)
class Document:
    """A source that was read, page by page: all that its sidecar tells."""

    source: str
    """Path of the source relative to its inbox, as it was dropped."""
    facts: SourceFacts
    """What the file is."""
    pages: tuple[PageResult, ...]
    """One result for every page, in order; each knows its position in the source."""
    engine: str
    """Kind of the engine that read it."""
    model: str
    """What read it, with version."""
    date: datetime
    """When it was finished, with time zone."""
    seconds: float
    """From the claim's start of work to the last page."""
    part: tuple[int, int] | None = None
    """Which of how many, from 1, where a scan was taken apart; `pages` are this part's alone then."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What a companion set, as it was written."""
    failures: tuple[str, ...] = ()
    """Why a file that was wanted of it could not be made, each a sentence."""
    not_in_pdf: tuple[int, ...] = ()
    """Numbers of the separator pages, from 1 in the source, that its PDF is to lack."""
    blank_backs: tuple[int, ...] = ()
    """Numbers of the pages, from 1 in the source, that are left out of all files, as blank backs of a duplex scan."""

    @property
    def problems(self) -> tuple[PageResult, ...]:
        """The pages that a person should look at."""
        return tuple(page for page in self.pages if not page.verdict.sound)

    @property
    def status(self) -> str:
        """`complete`, or `partial` where pages have problems, or the file itself."""
        return "partial" if self.problems or self.facts.problems or self.failures else "complete"
