"""Whether the letters of a text make words, in whatever language. Pure.

No dictionary is asked. Where vowels are written, they and the consonants take turns far more often than in letters that
fell together by chance. In any other alphabet, a letter still says much about the one that follows it in its word, and
next to nothing about one some words on. What an engine makes up of a page that it can't read has neither.
"""

import math
import re
from collections import Counter
from functools import cache
from itertools import pairwise

from ocrd.quality.words import Words

_VOWELS = "aeiouyäöüáéíóúýàèìòùâêîôûåæøœãõěůąęőűāēīōūаеёиоуыэюяіїєўαεηιουωάέήίόύώ"
_CONSONANTS = "bcdfghjklmnpqrstvwxzßçñčďňřšťžłńśźżðþбвгджзйклмнпрстфхцчшщъьґљњћџβγδζθκλμνξπρσςτφχψ"
_KINDS = str.maketrans(_VOWELS + _CONSONANTS, "v" * len(_VOWELS) + "c" * len(_CONSONANTS))
_ENOUGH = 110
"""Letters and spaces of different words that must be there before anything is said."""
_TURNS = 0.1
"""Share of neighbours, beyond chance, of which one is a vowel and one is not: 0.15 to 0.3 in words, at most 0.07 in
letters that were shuffled or drawn."""
_ENOUGH_UNKNOWN = 250
_ALPHABET = 80
"""Most letters of a script whose neighbours can be counted."""
_AWAY = 7
"""Letters from one to another that knows nothing of it."""
_TOLD = 0.15
"""Bits that a letter tells more of its neighbour than of a stranger: 0.3 and more in words, 0 ± 0.1 by chance."""
_WORD = re.compile(r"[^\W_]{2,}")
_MANY = 800
"""Words that prove as much as all."""
_FEW = 20
"""Words that prove nothing."""
_LATIN, _CYRILLIC = re.compile(r"[A-Za-z]"), re.compile(r"[\u0400-\u04ff]")
_ODD = re.compile(r"[a-zа-я][A-ZА-Я]|[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")
"""A capital within a word, or letters of two scripts in one."""
_LONG_WORD = re.compile(r"[A-Za-z0-9]{6,}")
_ODD_LATIN = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]+[A-Z]|[A-Za-z]\d+[A-Za-z]")
"""Capitals or digits within a word: so looks another alphabet that is read as Latin."""
_WITHIN = re.compile(r"[A-Z\d](?<=[A-Za-z].)")
"""What every one of those has, and few others."""
_ODD_WORDS = 7
_BEGINNING = 3000
"""Characters of a text that show in which letters it is."""
_CHARACTERS = 100
_NEW = 0.93
"""Share of different ones among so many Chinese characters. Texts come back to the common ones: 0.5 to 0.8."""
_FEW_CHARACTERS = 25
_COMMON = 0.75
"""Least share of characters that are common in some country: nearly all in texts, a third in those drawn by chance."""
_LEVELS = (("gb2312", range(0xB0, 0xD8)), ("big5", range(0xA4, 0xC7)), ("euc_jp", range(0xB0, 0xD0)))
"""Where the national standards of characters, here by their codecs, have the common ones: the first of two bytes."""
_UNDECODED = re.compile(r"\ufffd|\(cid:\d+\)|&#x?[0-9a-f]+;", re.IGNORECASE)
"""What programs write for a character that they don't know."""


def found(content: Words) -> str:
    """Say that the words are none; empty if they may well be, or are too few."""
    words = content.words[:_MANY]
    undecoded = any(sign in content.raw for sign in ("\ufffd", "(cid:", "&#"))
    if undecoded and len(_UNDECODED.findall(content.raw)) > max(_FEW, content.letters / 10):
        return "its characters were not decoded"
    hanzi = [word for word in words if "\u3400" <= word <= "\u9fff"]
    different = set(hanzi)
    if len(hanzi) >= _FEW_CHARACTERS and len(different & _common()) < _COMMON * len(different):
        return "its characters are common nowhere"
    if len(hanzi) >= _CHARACTERS:
        return "its characters make no text" if len(different) > _NEW * len(hanzi) else ""
    if _in_two_scripts(content):
        return "it mixes letters of two scripts"
    names = [word for word in dict.fromkeys(words) if len(word) > 1 and word.isalpha()]
    letters = " ".join(names).translate(_KINDS)
    known = letters.count("v") + letters.count("c")
    enough = len(letters) >= _ENOUGH
    if enough and (_without_turns(letters) if known > 0.9 * (len(letters) - len(names)) else _without_tie(names)):
        return "its letters make no words"
    return "its words have capitals and digits within" if _in_odd_letters(content.plain[:_BEGINNING]) else ""


@cache
def _common() -> frozenset[str]:
    """Give the Chinese characters that are common in China, Taiwan or Japan."""
    return frozenset(
        bytes((first, second)).decode(codec, "ignore")
        for codec, firsts in _LEVELS
        for first in firsts
        for second in range(0x40, 0xFF)
    )


def _in_odd_letters(plain: str) -> bool:
    """Whether most words have capitals or digits where words have none."""
    if len(_WITHIN.findall(plain)) < _ODD_WORDS:
        return False
    words = _LONG_WORD.findall(plain)
    odd = sum(bool(_ODD_LATIN.search(word)) for word in words)
    return odd >= _ODD_WORDS and odd > len(words) / 2


def _in_two_scripts(content: Words) -> bool:
    """Whether every few words the letters are others, also within words: upside down, half of them look so."""
    if content.plain.isascii() or not _CYRILLIC.search(content.plain) or not _LATIN.search(content.plain):
        return False
    words = [word for word in _WORD.findall(content.plain) if not word.isdigit()]
    scripts = [bool(_CYRILLIC.search(word)) for word in words]
    turns = sum(one != other for one, other in pairwise(scripts))
    odd = sum(bool(_ODD.search(word)) for word in words)
    return turns > 0.25 * len(words) and odd > 0.05 * len(words) and len(words) > _FEW


def _without_turns(letters: str) -> bool:
    """Whether vowels and consonants, `v` and `c`, take turns as by chance."""
    vowels, consonants = letters.count("v"), letters.count("c")
    near = vowels + consonants - letters.count(" ") - 1
    turns = (letters.count("vc") + letters.count("cv")) / near
    return turns - 2 * vowels * consonants / (vowels + consonants) ** 2 < _TURNS


def _without_tie(names: list[str]) -> bool:
    """Whether letters tell as much of a stranger as of their neighbour."""
    letters = "".join(names)
    near = [pair for name in names for pair in pairwise(name)]
    far = list(zip(letters, letters[_AWAY:], strict=False))
    number = min(len(near), len(far))
    if number < _ENOUGH_UNKNOWN or len(set(letters)) > _ALPHABET:
        return False
    return _information(near[:number]) - _information(far[:number]) < _TOLD


def _information(pairs: list[tuple[str, str]]) -> float:
    """Count the bits that the one of a pair tells of the other; few pairs seem to tell more than they do."""
    number = len(pairs)
    ones, others = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    return (
        sum(
            count * math.log2(count * number / (ones[one] * others[other]))
            for (one, other), count in Counter(pairs).items()
        )
        / number
    )
