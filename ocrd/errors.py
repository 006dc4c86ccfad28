"""The errors of ocrd, by whose fault they are, and the exit code that each one asks for.

Every error carries two sentences for a person: what happened, and what to do about it. Exceptions of libraries are
translated into these at the border of the one module that imports the library.
"""

import os
from typing import ClassVar


class OcrdError(Exception):
    """Anything that ocrd knows how to explain.

    Raised with what happened (one sentence, with the path and the value) and the remedy (one sentence).
    """

    exit_code: ClassVar[int] = os.EX_SOFTWARE

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)  # both in args, so that the error survives pickling from a worker
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


class ConfigError(OcrdError):
    """The owner's to mend; starting again changes nothing, so systemd must not try (exit code 78)."""

    exit_code = os.EX_CONFIG


class MachineError(OcrdError):
    """Disk full, share gone, permission lost: never the document's fault. Work pauses and resumes by itself."""

    exit_code = os.EX_IOERR

    once_mended: ClassVar[str] = "Work resumes by itself."
    """What a service does when the remedy was applied, as a sentence."""

    step: str = ""
    """Name of the step on a disk that met it; empty for what was met elsewhere."""


class OutdatedError(MachineError):
    """The files of ocrd are others than those that this process runs: it can't go on, and its next start can."""

    once_mended = "Work resumes then."


class SpoolError(MachineError):
    """The work folder itself can't be used, for instance because another daemon holds it."""


class EngineError(OcrdError):
    """The engine is gone and could not be brought back; systemd restarts the service (exit code 75)."""

    exit_code = os.EX_TEMPFAIL


class DocumentError(OcrdError):
    """A source that can't be read, whatever the machine does: encrypted, damaged, empty, not a PDF."""

    exit_code = os.EX_DATAERR


class IncompleteError(DocumentError):
    """A source that ends before it should: still on its way, or cut off for good."""


class PageError(OcrdError):
    """A page that can't be rendered or read. Its document goes on, and says so at that page."""

    exit_code = os.EX_DATAERR


def cause_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Pick what ended a task group, which wraps even a single error: one that knows its exit code before any other."""
    leaves = [cause_of(error) if isinstance(error, BaseExceptionGroup) else error for error in group.exceptions]
    return next((error for error in leaves if isinstance(error, OcrdError)), leaves[0])
