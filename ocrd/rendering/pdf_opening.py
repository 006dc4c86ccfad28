"""How a PDF is opened: with its password, without its tables where these are damaged, with the PDFs that are in it.

For the render workers alone. It is hostile; whatever MuPDF and qpdf throw at it becomes a DocumentError.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ocrd.errors import DocumentError, IncompleteError
from ocrd.rendering import page_tree, truncation
from ocrd.rendering.source import AGAIN, TRANSFER, how_opened, plain

if TYPE_CHECKING:
    import pymupdf

_MOST_CATALOGS = 10
"""That are tried where none leads to pages."""
_MOST_NAMES = 20
"""Of attached files that are listed."""
_ENCRYPT = re.compile(rb"/Encrypt(?=\s*(?:<<|\d+\s+\d+\s+R))")
_PUBLIC_KEYS = re.compile(rb"/adbe\.pkcs7\.s[345]\b")
"""Ways to encrypt for certificates (ISO 32000-2, 7.6.5), which are never written into compressed objects."""
_NO_KEY = b"/Ignored"
"""As long, so that all else keeps its place."""


class OpenedPdf(NamedTuple):
    """A PDF that could be opened, and what is known of it."""

    document: "pymupdf.Document"
    """With the pages of the PDFs in it behind its own, where those are wanted."""
    repaired: bool
    """Whether its structure is damaged."""
    parts: tuple[int, ...]
    """Indices of the pages with which these begin."""
    attachments: tuple[str, ...]
    """Names of files in it that are not read."""
    problems: tuple[str, ...]
    """Why its pages may not be all that it holds, each a sentence."""


def open_pdf(path: Path, pages: int | None = None) -> OpenedPdf:
    """Open a PDF, of which it may be known how many `pages` it has. Raises DocumentError, IncompleteError."""
    document, repaired = _whole(path, pages)
    _refuse_form(document)
    parts: tuple[int, ...] = ()
    problems = ["The structure of this PDF is damaged, and pages of it may be missing."] if repaired else []
    attachments = tuple(document.embfile_names())
    if attachments and document.xref_get_key(document.pdf_catalog(), "Collection")[0] != "null":
        if how_opened().embedded:
            parts, attachments = _append_embedded(document)
        if attachments:
            which = "some files" if parts else "the files"
            problems.append(f"This PDF is a portfolio, and {which} in it were not read. Save them, and drop each.")
    return OpenedPdf(document, repaired, parts, attachments[:_MOST_NAMES], tuple(problems))


def _whole(path: Path, known: int | None) -> tuple["pymupdf.Document", bool]:
    """Open a PDF, and tell whether its structure is damaged so that it had to be repaired here.

    Raises DocumentError, IncompleteError.
    """
    import pymupdf

    passwords = how_opened().passwords

    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    locked, error = False, None
    try:
        document = pymupdf.open(path, filetype="pdf")
        locked = bool(document.needs_pass) and not any(map(document.authenticate, passwords))
        if locked and (readable := _with_locked_attachments(path, document)) is not None:
            document, locked = readable, False
        recounted = not locked and document.page_count != known and page_tree.recounted(document)
        pages = 0 if locked else document.page_count
        if pages and (not document.is_repaired or truncation.has_pdf_end(path)):
            return document, recounted
    except MemoryError:
        raise
    except Exception as caught:  # noqa: BLE001 - MuPDF's errors have no common base but this
        error = caught
    if not truncation.has_pdf_end(path):  # MuPDF would show what is left, with pages or their contents missing
        raise _cut_off() from error
    if (repaired := _repaired(path)) is not None:
        return repaired, not locked  # one whose owner's password is empty only MuPDF does not open
    if locked:
        raise _asks_for_password()
    _refuse_certificates(path)
    if (found := _searched(path)) is not None:
        return found, True
    if error:
        raise DocumentError(f"This PDF can't be opened: {plain(error, path)}.", AGAIN) from error
    raise DocumentError("This PDF has no pages.", "Export it again from the program that made it.")


def _with_locked_attachments(path: Path, locked: "pymupdf.Document") -> "pymupdf.Document | None":
    """Open a PDF of which only attached files are encrypted, as if nothing were (ISO 32000-1, 7.6.5)."""
    import pymupdf

    version, *filters = (locked.xref_get_key(-1, f"Encrypt/{key}")[1] for key in ("V", "StmF", "StrF"))
    if version not in ("4", "5") or not {"/Identity", "null"}.issuperset(filters):
        return None
    data = _ENCRYPT.sub(_NO_KEY, path.read_bytes())
    return pymupdf.open(stream=data, filetype="pdf")


def _asks_for_password() -> DocumentError:
    tried = ", and none of those in passwords_file opens it" if how_opened().passwords else ""
    return DocumentError(
        f"This PDF asks for a password{tried}.",
        "Write it into the watch's passwords_file, or save a copy without the password.",
    )


def _repaired(path: Path) -> "pymupdf.Document | None":
    """Open a PDF by qpdf, which finds pages, and ways without a password, that MuPDF does not.

    Raises DocumentError for one that asks for a password, which MuPDF may not notice.
    """
    import pikepdf
    import pymupdf

    whole, locked = io.BytesIO(), False
    for password in ("", *how_opened().passwords):
        try:
            with pikepdf.open(path, password=password) as pdf:
                pdf.save(whole)
            document = pymupdf.open(stream=whole.getvalue(), filetype="pdf")
        except pikepdf.PasswordError:
            locked = True
        except (pikepdf.PdfError, RuntimeError, ValueError):
            continue
        else:
            return document if document.page_count else None
    if locked:
        raise _asks_for_password()
    return None


def _refuse_certificates(path: Path) -> None:
    """Refuse a PDF that no password opens, of which it is known that it can't be opened. Raises DocumentError."""
    data = path.read_bytes()
    if _ENCRYPT.search(data) and _PUBLIC_KEYS.search(data):
        raise DocumentError(
            "This PDF is encrypted for the holders of certain certificates.",
            "Open it with such a certificate, print it to a new PDF, and drop that.",
        )


def _searched(path: Path) -> "pymupdf.Document | None":
    """Open a PDF whose tables lead to no pages by the objects themselves, as MuPDF does where there is no table."""
    import pymupdf

    data = path.read_bytes().replace(b"startxref", b"lostxref ")
    with contextlib.suppress(RuntimeError, ValueError):  # MuPDF's errors are RuntimeErrors
        document = pymupdf.open(stream=data, filetype="pdf")
        if document.page_count:
            return document
        for catalog in _catalogs(document)[:_MOST_CATALOGS]:
            document.xref_set_key(-1, "Root", f"{catalog} 0 R")
            found = pymupdf.open(stream=document.tobytes(), filetype="pdf")
            if found.page_count:
                return found
    return None


def _catalogs(document: "pymupdf.Document") -> list[int]:
    found = []
    for xref in range(1, document.xref_length()):
        with contextlib.suppress(RuntimeError, ValueError):  # one object may be damaged
            if "/Catalog" in document.xref_object(xref, compressed=True):
                found.append(xref)
    return found


def _refuse_form(document: "pymupdf.Document") -> None:
    """Refuse a form that has no pages of its own. Raises DocumentError."""
    catalog = document.pdf_catalog()
    has_form = document.xref_get_key(catalog, "AcroForm/XFA")[0] != "null"
    if has_form and document.xref_get_key(catalog, "NeedsRendering")[1] == "true":
        raise DocumentError(
            "This PDF is a form that only Adobe's programs can draw (dynamic XFA).",
            "Open it in Adobe Reader, print it to a new PDF, and drop that.",
        )


def _append_embedded(document: "pymupdf.Document") -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Append the pages of all PDFs in a portfolio. Returns where each begins, and the names of the other files."""
    starts, others = [], []
    for number, name in enumerate(document.embfile_names()):
        start = document.page_count
        try:
            whole = _append(document, document.embfile_get(number))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - MuPDF's errors have no common base but this
            whole = False
        if whole:
            starts.append(start)
        else:
            others.append(name)
    return tuple(starts), tuple(others)


def _append(document: "pymupdf.Document", data: bytes) -> bool:
    """Append the pages of another PDF, if it is one, and whole. Raises what MuPDF does."""
    import pymupdf

    with pymupdf.open(stream=data, filetype="pdf") as inner:
        locked = inner.needs_pass and not any(map(inner.authenticate, how_opened().passwords))
        if locked or inner.is_repaired or page_tree.recounted(inner):
            return False
        document.insert_pdf(inner)
        return True


def _cut_off() -> IncompleteError:
    return IncompleteError("This PDF is cut off: its end is missing.", TRANSFER)
