"""Whether the text that a PDF page brings along can be trusted. Pure: text in, judgement out.

Text layers lie: fonts without Unicode values, encodings taken for one another, hidden layers of an earlier OCR.
"""

import re
import unicodedata

from ocrd.model import TextLayer
from ocrd.output.hyphens import open_hyphens

_LEAST = 20
"""Fewer letters than this prove nothing."""
_ENOUGH = 80
"""Letters from which vowels can be counted."""
_VOWELS = {"LATIN": "aeiouyäöüáéíóúàèìòùâêîôûåæøœãõěůąęő", "CYRILLIC": "аеёиоуыэюяіїєў"}
_FEWEST_VOWELS, _MOST_VOWELS = 0.22, 0.62
"""Shares among letters: 0.36 (Czech) to 0.5 (Italian) are usual; a shifted alphabet falls far below."""
_HYPHENS = 200
"""Most open hyphens that are remembered of a page."""
_TWICE_ENCODED = re.compile(r"[ÂÃÐÑ][\u0080-\u00bf]|â€|Ã[\u0192\u2020-\u2030]")
"""UTF-8 that was read as Latin-1 or Windows-1252."""


def judge(text: str, hidden: float) -> TextLayer:
    """Judge the text of a page, of which the share `hidden` is invisible on it."""
    flaw = _flaw(text, hidden)
    return TextLayer(sum(map(str.isalnum, text)), flaw, () if flaw else open_hyphens(text)[:_HYPHENS])


def _flaw(text: str, hidden: float) -> str:
    """Say in words what is wrong with a text; empty if nothing seems to be."""
    letters = [char for char in text if char.isalpha()]
    flaws = {
        "it is hidden, most likely from an earlier OCR": hidden > 1 / 2,
        "its font does not tell which letters it has": sum(map(_nameless, text)) > len(text) / 100,
        "its letters are of another encoding than it says": _accented(letters) > max(_LEAST, len(letters)) * 0.4,
        "it was encoded twice": len(_TWICE_ENCODED.findall(text)) > max(_LEAST, len(text)) / 100,
        "its letters make no words": any(_wordless(letters, *script) for script in _VOWELS.items()),
    }
    return next((flaw for flaw, found in flaws.items() if found), "")


def _nameless(char: str) -> bool:
    return char == "\ufffd" or (unicodedata.category(char) in {"Co", "Cn", "Cc"} and not char.isspace())


def _accented(letters: list[str]) -> int:
    return sum("\u00c0" <= char <= "\u00ff" for char in letters)


def _wordless(letters: list[str], script: str, vowels: str) -> bool:
    """Whether letters are mostly of this script, and have too few or too many vowels for any language."""
    ours = [char for char in letters if unicodedata.name(char, "").startswith(script)]
    if len(ours) < max(_ENOUGH, len(letters) / 2):
        return False
    return not _FEWEST_VOWELS < sum(char.lower() in vowels for char in ours) / len(ours) < _MOST_VOWELS
