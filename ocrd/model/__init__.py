"""The records that pass between the rooms of ocrd. Frozen, and every field tells its unit.

All are taken from here: files in an inbox (`files`), page images (`pages`), what engines make of them (`readings`),
documents (`documents`), and how engines are (`engine_states`). May import nothing else of ocrd.
"""

from ocrd.model.documents import Document, Opening, SourceFacts, duplex_place
from ocrd.model.engine_states import CardState, EngineState, ServerState
from ocrd.model.files import COMPANION, DEFAULT_ACCESS, Access, FileStamp, Group, Join, Settled
from ocrd.model.pages import (
    PageFacts,
    PageImage,
    PagePreparer,
    PageSizer,
    PixelSize,
    Placement,
    PlainPageSizer,
    TextLayer,
    View,
)
from ocrd.model.readings import DEFAULT_APPROACH, Approach, Attempt, Box, PageResult, Reading, ReadWord, Rung, Verdict

__all__ = [
    "COMPANION",
    "DEFAULT_ACCESS",
    "DEFAULT_APPROACH",
    "Access",
    "Approach",
    "Attempt",
    "Box",
    "CardState",
    "Document",
    "EngineState",
    "FileStamp",
    "Group",
    "Join",
    "Opening",
    "PageFacts",
    "PageImage",
    "PagePreparer",
    "PageResult",
    "PageSizer",
    "PixelSize",
    "Placement",
    "PlainPageSizer",
    "ReadWord",
    "Reading",
    "Rung",
    "ServerState",
    "Settled",
    "SourceFacts",
    "TextLayer",
    "Verdict",
    "View",
    "duplex_place",
]
