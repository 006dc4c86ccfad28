"""Names that text can hold before it is known what its files will be called."""

import os
from urllib.parse import quote

STEM = "\x1a"
"""Stands in Markdown for the name that the files go out under: ASCII's own `substitute`, which no page's text has."""
ASSETS = ".assets"
"""Ending of the folder of figures."""
REVIEW = ".review.html"
"""Ending of a review page."""


def with_stem(text: str, stem: str) -> str:
    """Put the name that a document's files go out under into its links."""
    return text.replace(STEM, quote(os.fsencode(stem)))


def review_of(stem: str) -> str:
    """Name the review page of a document, by its path in the outbox without ending; all pages lie in one folder."""
    return f"{stem.replace('/', ' - ')}{REVIEW}"
