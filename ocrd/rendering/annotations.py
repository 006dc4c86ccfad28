"""Links and signature fields on a page of a PDF, that MuPDF would not draw as they look. For the render workers."""

from typing import TYPE_CHECKING

from ocrd.rendering import page_tree

if TYPE_CHECKING:
    import pymupdf

_HIDDEN = "2"
"""The flag of a note that is not shown (ISO 32000-1, 12.5.3)."""


def made_visible(document: "pymupdf.Document", page: "pymupdf.Page") -> bool:
    """Let MuPDF draw links, and fields without a signature, as they look; tells if the page is to be loaded anew.

    It draws no link, and a mark of its own over such a field. A stamp it draws as it looks. The document is changed in
    memory alone.
    """
    try:
        changed = [_is_changed(document, xref) for xref, *_ in page.annot_xrefs() if xref]
        return any(changed)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - MuPDF's errors have no common base but this
        return True  # a note is damaged, and others may have been changed before


def _is_changed(document: "pymupdf.Document", note: int) -> bool:
    kind = document.xref_get_key(note, "Subtype")[1]
    unsigned = kind == "/Widget" and _is_unsigned(document, note)
    if (unsigned or kind == "/Link") and _has_looks(document, note):
        document.xref_set_key(note, "Subtype", "/Stamp")
        return True
    if unsigned:
        document.xref_set_key(note, "F", _HIDDEN)
    return unsigned


def _is_unsigned(document: "pymupdf.Document", field: int) -> bool:
    kind, value = (page_tree.inherited(document, field, key) for key in ("FT", "V"))
    return kind[1] == "/Sig" and value[0] == "null"


def _has_looks(document: "pymupdf.Document", note: int) -> bool:
    kind, value = document.xref_get_key(note, "AP/N")
    return kind == "xref" and bool(document.xref_is_stream(int(value.partition(" ")[0])))
