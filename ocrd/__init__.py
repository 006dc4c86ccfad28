"""ocrd reads the scans that are dropped into a folder and writes them out as Markdown."""

__version__ = "0.1.0"
