"""The character error rate of a sidecar against the true text: `python bench/quality/cer.py TRUTH SIDECAR` prints it.

Only what a reader sees is compared: front matter, comments (the page markers), HTML tags, and Markdown's signs for
headings, lists, tables and emphasis are taken away, and every run of white space, form feeds too, counts as one space.
"""

import html
import re
import sys
from pathlib import Path

from rapidfuzz.distance import Levenshtein

MARKUP = re.compile(
    r"""
      \A---\n.*?^---$                 # front matter
    | <!--.*?-->                      # comments
    | ^>[ ]\*Page[ ]\d+[ ][^\n]*\*$    # what the sidecar itself says of a page
    | </?[a-zA-Z][^<>]*>              # HTML tags
    | ^[ ]*(?:\#{1,6}|>|[-*+])[ ]     # the sign that opens a heading, quotation or list item
    | ^[ ]*\|?[ ]*:?-[-:| ]*\|[-:| ]*$  # the rule below a table's head
    | [|]                             # between the cells of a table
    | [*`~]+ | (?<!\w)_+ | _+(?!\w)   # emphasis, code
    | \\(?=[^\w\s])                   # escapes
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def cer(truth: str, markdown: str) -> float:
    """Count the characters to insert, delete or replace, at least, over the number of characters of the truth.

    0 is perfect; above 1 where more was invented than there is. An empty truth counts as one character.
    """
    expected = " ".join(truth.split())
    read = " ".join(html.unescape(MARKUP.sub(" ", markdown)).split())
    return Levenshtein.distance(expected, read) / max(1, len(expected))


if __name__ == "__main__":
    truth, sidecar = (Path(name).read_text(encoding="utf-8") for name in sys.argv[1:])
    print(f"{cer(truth, sidecar):.2%}")
