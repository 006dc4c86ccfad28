"""Names that text can hold before it is known what its files will be called."""

STEM = "\x1a"
"""Stands in Markdown for the name that the files go out under: ASCII's own `substitute`, which no page's text has."""


ASSETS = ".assets"
"""Ending of the folder of figures."""
