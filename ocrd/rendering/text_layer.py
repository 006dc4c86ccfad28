"""Whether the text that a PDF page brings along can be trusted. Pure: text in, judgement out.

Text layers lie: fonts without Unicode values, encodings taken for one another, hidden layers of an earlier OCR.
"""

import re
import unicodedata
from itertools import pairwise

from ocrd.model import TextLayer
from ocrd.output.hyphens import open_hyphens
from ocrd.quality import gibberish
from ocrd.quality.words import Words

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
_LIGATURES = ("ff", "fi", "fl", "ffi", "ffl")
_LETTERS = ("ä", "ö", "ü", "ß")
_WORDS = """
first final find finally field figure file five fifty fire fine finish financial define defined specific office officer
official offer effect effective efficient difficult difficulty different difference affect traffic staff sufficient
coefficient profit benefit confirm configure significant scientific identify modified float floor flow flight influence
reflect conflict inflation offen öffnen öffentlich finden findet finanz auflage pflicht einfluss schiff begriff
betreffen betrifft treffen hoffen stoff griff officiel différent différence effet effets chiffre difficile enfin profil
réflexion suffit offre
können müssen würde wurden möglich während größe große großen straße außer weiß über später führt natürlich gehört schön
höhe länge zurück für daß
"""
_USUAL = frozenset(_WORDS.split())
"""Words by which a letter that stands in the place of another is known."""
_FEWEST = 5
"""Letters of such a word with a ligature; shorter ones are words of other languages, too."""
_SHORTENED = {
    word.replace(ligature, "f", 1): word
    for ligature in ("fi", "fl", "ffi", "ffl")  # words with one f instead of two are words of other languages
    for word in _USUAL
    if ligature in word and len(word) > _FEWEST and word != "flight"  # which would be "fight"
}
"""Such words with nothing but the first letter of a ligature."""
_PARTED = {
    (begin, end): word
    for ligature in _LIGATURES
    for word in _USUAL
    if len(word) >= _FEWEST
    for begin, found, end in [word.partition(ligature)]
    if found and begin and end
}
"""Such words with a space in the place of a ligature."""
_ELSEWHERE = "ŠšŸ§„”áŽ"
"""What German's letters look like if Mac OS Roman, or code page 850, is read as Windows-1252 or Latin-1."""
_SPACE = re.compile("[ \n]+")
"""Other signs that have no print stand for letters, too."""
_QUOTES = "()[]\u2018\u2019\u201c\u201d\u00ab\u00bb"
_AROUND = ".,;:!?()[]\"'\u2018\u2019\u201c\u00ab\u00bb"


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
        "some of its letters stand for others": len(_mistaken(text)) > 1,
        "it was encoded twice": len(_TWICE_ENCODED.findall(text)) > max(_LEAST, len(text)) / 100,
        "its letters make no words": any(_wordless(letters, *script) for script in _VOWELS.items())
        or gibberish.found(Words.of(text)) != "",
    }
    return next((flaw for flaw, found in flaws.items() if found), "")


def _nameless(char: str) -> bool:
    return char == "\ufffd" or (unicodedata.category(char) in {"Co", "Cn", "Cc"} and not char.isspace())


def _accented(letters: list[str]) -> int:
    return sum("\u00c0" <= char <= "\u00ff" for char in letters)


def _mistaken(text: str) -> set[str]:
    """List usual words in which something else stands in the place of a ligature, or of a letter of another encoding.

    That is another sign, a space, or the ligature's first letter alone.
    """
    found: set[str] = set()
    words = [word.strip(_AROUND).lower() for word in _SPACE.split(text)]
    for word in {*words, *(word.strip(_QUOTES).lower() for word in _SPACE.split(text))}:
        odd = {char for char in word if not _is_letter(char)}
        if len(odd) != 1 or word in _USUAL:
            continue
        (sign,) = odd
        if "\ufb00" <= sign <= "\ufb06":  # those are ligatures
            continue
        meant = [word.replace(sign, one) for one in _LIGATURES]
        meant = [one for one in meant if len(one) >= _FEWEST]
        if sign in _ELSEWHERE.lower():
            meant += [word.replace(sign, one) for one in _LETTERS]
        found |= _USUAL.intersection(meant)
    found |= {_SHORTENED[word] for word in words if word in _SHORTENED}
    return found | {_PARTED[pair] for pair in pairwise(words) if pair in _PARTED}


def _is_letter(char: str) -> bool:
    return char.isascii() and char.isalpha()


def _wordless(letters: list[str], script: str, vowels: str) -> bool:
    """Whether letters are mostly of this script, and have too few or too many vowels for any language."""
    ours = [char for char in letters if unicodedata.name(char, "").startswith(script)]
    if len(ours) < max(_ENOUGH, len(letters) / 2):
        return False
    return not _FEWEST_VOWELS < sum(char.lower() in vowels for char in ours) / len(ours) < _MOST_VOWELS
