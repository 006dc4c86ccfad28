"""Whether a text goes round in circles, or on and on, as no page does. Pure: words in, the reason in words out."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from itertools import accumulate, groupby, pairwise, repeat
from operator import countOf, eq, sub
from statistics import median

from ocrd.quality import places
from ocrd.quality.words import NUMBER, PHRASE, RUN, Paragraph, Words, candidates, recurring, repeats, runs_of

_GRID = re.compile(r"\||<td|__|\.\.\.\.|\t")
"""Tables, forms and leaders: there the same words may well stand under one another."""
_FIELD = re.compile(r"\||\t|__+")
_LEADER = re.compile(r"\.{4,}|(?:\. ){4,}")
_SENTENCE = re.compile(r"[.!?。]+\s|\n|\.{4,}")
"""What parts two sentences, lines, or the ends of a leader."""
_MUTE = re.compile(r"[^\n]{400}|(?:[^\n]*\n){100}")
"""Between two words: more dots, bars or empty cells than a line is wide, or more such lines than a page is high."""
_DIGITS = 30
_ZEROS = re.compile(rf"(\d)\1{{{_DIGITS - 1}}}")
_COMMANDS = re.compile(r"((?:\\[A-Za-z]++[\s{}]*+){1,4}?)\1{29}")
"""TeX's commands, some thirty times over; no formula and no leader of dots is so long."""
_DECIMAL = re.compile(r"\d(?<![\w.,].)\d{0,3}[.,]\d{1,4}(?![\w.,])")
_HUSH = re.compile(r"[\W_]{100,}")
_UNBROKEN = re.compile(r"[!-~]{300,}")
"""More signs than a line has, and no space: an address of the web, or a file in letters."""
_TENTH, _HUSH_TENTH, _UNBROKEN_TENTH = 10, re.compile(r"[\W_]{10}"), re.compile(r"[!-~]{30}")
"""What either leaves where only every tenth character is looked at, which takes a tenth of the time."""
_ROW = re.compile(r"^[ \t]*\|(?:[^\n]*?[^\W_]){3}", re.MULTILINE)
"""A row that says more than its number: one that says less is no line to who looks at the image."""
_LONGEST = 150
"""Letters or digits of a word that no line holds, nor those of languages that join their words."""
_STRETCH = 150
"""Words among which few enough must be new for the engine to have lost its way, however long the page was before."""
_WIDEST = 40
"""More words than a line of a table or a form has."""
_PARAGRAPH = 40
"""Words of a paragraph that no page says twice."""
_ALONE = 1.15
"""How much longer it must be, as a factor, if it is the only one."""
_NEAR = 300
"""Words ago that a loop said the same; notices on one page say it again farther on."""
_NEAR_BLOCKS = 3
"""Blocks between two paragraphs of which the second one is the first, read again."""
_USUAL = 1.35
"""How far, as a factor, the letters of a block may be from the page's usual ones."""
_NUMERAL = re.compile(r"\d+|[ivxlc]+|[a-z]|[一二三四五六七八九十百〇零]")
_END = 15
"""Characters at the end of lines that say the same."""
_HEAD = 4
"""Words among which the number of a paragraph stands."""
_TIMES, _SENTENCE_LETTERS = 5, 30
"""Times that a sentence of so many characters, spaces with them, stands under numbers on no page."""
_NEARLY = 0.8
"""Share of a paragraph's phrases that stand there before, if it is the same one."""
_FORMULA = 60
"""Commands that a page of formulas may well have."""
_ECHO = 5
"""Runs of words, one after the other, that stand more than once in any circle which is too many."""
_CHARACTERS = 20
"""The same where words are characters, and where numbers may differ."""
_FEW_NUMBERS = 5
_LEAST = 2.8
"""Rounds that any circle has which is too many."""
_WOBBLES, _VARIANTS, _LIKE, _NAME = 15, 4, 0.7, 6
"""Lines in a row in at least so many spellings; how alike they are, 0 to 1; letters of the usual one."""
_ENDS = re.compile(rf"([^\W\d_])[^\n]{{{_NAME - 2},}}([^\W\d_])")
"""The first and the last letter of a line that may have enough of them."""
_NO_LETTERS = dict.fromkeys(code for code in range(128) if not chr(code).isalpha())
"""Those of ASCII, to be taken away."""
_NUMBER = 10
"""What has so many digits is no number that is counted up to."""
_WIDTH = 6
"""Most columns of a table that counts."""
_COUNTED = 80
"""Numbers that no page counts through, one after the other; a column of a long table may have some sixty."""


@dataclass(frozen=True)
class _Cycle:
    """The same words again and again, without anything between."""

    content: Words
    """The text in which they stand."""
    start: int
    """Number of the first word."""
    end: int
    """Number of the word behind the last."""
    period: int
    """Words until they come again."""
    words: list[str]
    """Those of one round."""

    @property
    def rounds(self) -> float:
        """How often they come."""
        return (self.end - self.start) / self.period

    @property
    def letters(self) -> int:
        return sum(map(len, self.words))

    @cached_property
    def text(self) -> str:
        """All rounds, as they stand in the text."""
        return self.content.between(self.start, min(self.end, len(self.content.words)) - 1)

    @property
    def by_line(self) -> bool:
        """Whether each round stands on lines of its own."""
        return self.text.count("\n") > 0.8 * self.rounds - 2


@dataclass(frozen=True, slots=True)
class Room:
    """What the page seems to hold."""

    letters: int = 0
    """Roughly; there are seldom more than 1.5 for each. 0 where nobody looked."""
    lines: int = 0
    """Of text, columns beside one another. 0 where nobody looked."""

    def crammed(self, content: Words) -> bool:
        """Whether the page has no room for so many letters."""
        return self.letters > 0 and content.letters > 1.7 * self.letters + 20

    def about(self, content: Words) -> bool:
        """Whether the page has about as many letters."""
        return 0.75 * self.letters < content.letters < 1.5 * self.letters

    def fits(self, content: Words) -> bool:
        """Whether the page has as many lines, and about as many letters. Then what they say again is said there."""
        return self.lines > 2 and self.about(content) and 0.9 * self.lines <= content.lines <= 1.06 * self.lines + 1


def found(content: Words, room: Room) -> str:
    """Say how a text repeats itself; empty if it does so no more than a page may."""
    return (
        _endless(content)
        or _in_circles(content, room)
        or _counting(content, crammed=room.crammed(content))
        or _stuttering(content, room)
        or _wobbling(content)
        or _again(content, room)
        or _paragraphs_again(content, room)
        or _under_numbers(content, room)
        or _in_lines(content, room.lines)
    )


def _endless(content: Words) -> str:
    """Say what goes on without a word, or a word without an end."""
    long_word, tenth = max(content.counts, key=len, default=""), content.plain[::_TENTH]
    if len(long_word) > 60 and len(set(long_word)) <= 5:
        return f"it says {_quoted([long_word])} in {len(long_word)} letters"
    if len(long_word) >= _DIGITS and (zeros := _ZEROS.search(content.plain)):
        return f"it says “{zeros[0]}” and goes on so"
    if content.text.count("\\") > _FORMULA and (commands := _COMMANDS.search(content.text)):
        return f"it writes {_quoted([commands[1].strip()])} over and over"
    if len(long_word) > _LONGEST and long_word.isascii():
        return f"it has a word of {len(long_word)} letters, {_quoted([long_word])}"
    unbroken = _UNBROKEN.search(content.plain) if _UNBROKEN_TENTH.search(tenth) else None
    if unbroken and sum(map(str.isalnum, unbroken[0])) > _LONGEST:
        return f"it goes on for {len(unbroken[0])} characters without a space, {_quoted([unbroken[0]])}"
    between = len(content.plain) - content.letters - 2 * len(content.words)  # beyond a comma and a space for each
    if between >= 100 and _HUSH_TENTH.search(tenth) and any(map(_MUTE.search, _HUSH.findall(content.plain))):
        return "it goes on and on in dots, rules or empty cells"
    return ""


def _in_circles(content: Words, room: Room) -> str:
    """Say which words come again and again without anything between, but for numbers that grow or other words."""
    crammed, fits = room.crammed(content), room.fits(content)
    for circle in _circles(content, crammed=crammed):
        if _too_often(circle, crammed=crammed) and not (fits and circle.by_line):
            return f"it says {_quoted(circle.words)} {circle.rounds:.0f} times in a row"
    for circle in _circles(content, crammed=crammed, counting=True) if content.numbers >= _FEW_NUMBERS else ():
        named = [word for word in circle.words if word != "#" and len(word) > 1]
        if len(named) >= 3 and _too_often(circle, crammed=crammed, patience=2) and not (fits and circle.by_line):
            return f"it says {_quoted(circle.words)} {circle.rounds:.0f} times in a row, only counting on"
    return _in_a_frame(content, room)


def _in_a_frame(content: Words, room: Room) -> str:
    """Say which words stand around ever other ones, more often than the page has lines or room for."""
    too_often = (
        12 if room.crammed(content) else (2 * room.lines + 20) * content.scale if room.lines else len(content.words)
    )
    if max(content.counts.values(), default=0) <= too_often:
        return ""
    often = {word: times for word, times in content.counts.items() if not word.isdigit()}
    top = max(often.values(), default=0)
    kept = {word for word, times in often.items() if times >= max(12, top / 3)}
    places = [
        place
        for place, word in enumerate(content.words)
        if word in kept or not place or content.words[place - 1] in kept
    ]
    frame = [content.words[place] if content.words[place] in kept else "#" for place in places]
    signs = {word: chr(number) for number, word in enumerate(kept | {"#"}, 1)}
    in_rows = 2 * room.lines + 20
    for first, end, period in _periods("".join(map(signs.__getitem__, frame)), RUN):
        words, rounds = frame[first : first + period], (end - first) / period
        if rounds <= too_often or (
            rounds <= in_rows and _stand_in_rows(content, places[first], places[end - 1], rounds)
        ):
            continue
        if sum(len(word) for word in words if word != "#") >= 3:
            return f"it says {_quoted(words).replace('#', '…')} {rounds:.0f} times in a row, each time with other words"
    return ""


def _stand_in_rows(content: Words, first: int, last: int, rounds: float) -> bool:
    """Whether the words from one to another stand in the rows of a table, one round in each."""
    return len(_ROW.findall(content.between(first, last))) >= rounds - 1


def _counting(content: Words, *, crammed: bool) -> str:
    """Say how far it only counts: every number is one more than that before, or than that above it in a table."""
    enough = _COUNTED // 2 if crammed else _COUNTED
    if NUMBER * enough in content.numbered:
        known = {word: int(word) for word in content.counts if word.isdecimal() and len(word) < _NUMBER}
        numbers = [known.get(word, -2) for word in content.words]  # which is never one more or less than a number
        for width in range(1, _WIDTH + 1):
            one_more = bytes(map((1).__eq__, map(sub, numbers[width:], numbers)))
            if (place := one_more.find(b"\1" * enough)) >= 0:
                return f"it counts on and on, up to {numbers[place + enough - 1 + width]} and further"
    return _in_steps(content)


def _in_steps(content: Words) -> str:
    """Say how many cells of a table only grow by the same step, row for row, as in no table that was measured."""
    if content.numbers < 2 * _COUNTED:  # those before and behind each point
        return ""
    numbers = [float(number.replace(",", ".")) for number in _DECIMAL.findall(content.plain)]
    if len(numbers) < _COUNTED:
        return ""
    steps = [round(step, 6) for step in map(sub, numbers[1:], numbers)]
    even = sum(one == other != 0 for one, other in pairwise(steps))
    return f"{even} of its numbers follow one another in the same step" if even > 0.6 * len(numbers) else ""


def _stuttering(content: Words, room: Room) -> str:
    """Say that it tells each word, or each line, twice or more before it goes on."""
    words = content.words
    if len(words) > 40 and countOf(map(eq, words, words[1:]), True) > 0.4 * len(words):
        twice = {word for word, other in pairwise(words) if word == other and word.isalpha()}
        if len(twice) >= 10:
            return "it says nearly every word twice"
    lines = list(filter(str.strip, content.plain.split("\n")))
    again = {line for line, other in pairwise(lines) if line == other} if len(lines) >= 12 else set()
    if len(again) >= 5 and not room.fits(content) and countOf(map(eq, lines, lines[1:]), True) > 0.4 * len(lines):
        return "it says nearly every line twice"
    return ""


def _wobbling(content: Words) -> str:
    """Say which line comes again and again in ever the same few spellings, as no list of names or of labels does."""
    lower = content.plain.lower()
    if max(Counter(_ENDS.findall(lower)).values(), default=0) < _WOBBLES / 4:
        return ""
    lines = list(map(_letters, filter(str.strip, lower.split("\n"))))
    if len(lines) < _WOBBLES:
        return ""
    often = Counter(lines).most_common(1)
    if often[0][1] < _WOBBLES / 4 or len(often[0][0]) < _NAME:
        return ""
    usual = often[0][0]
    matcher = SequenceMatcher(b=usual, autojunk=False)

    def is_like(line: str) -> bool:
        matcher.set_seq1(line)
        return len(line) < 2 * len(usual) and matcher.ratio() > _LIKE

    like = {line: is_like(line) for line in set(lines)}
    for same, run in groupby(lines, key=like.__getitem__):
        found = list(run)
        if same and len(found) >= _WOBBLES and _VARIANTS <= len(set(found)) <= len(found) / 2:
            return f"it says {_quoted([usual])} {len(found)} times in a row, in {len(set(found))} spellings"
    return ""


def _letters(line: str) -> str:
    """Give the letters of a line, and nothing else."""
    return line.translate(_NO_LETTERS) if line.isascii() else "".join(filter(str.isalpha, line))


def _again(content: Words, room: Room) -> str:
    """Say how much of a text came before, in whatever order."""
    words, crammed = content.words, room.crammed(content)
    if room.fits(content) or (content.numbers > 0.8 * len(words) and not crammed):  # a calendar, or a table of numbers
        return ""
    again = content.repeats / max(1, len(words))
    if again * len(words) > 0.5 * _STRETCH:
        grid = len(_GRID.findall(content.text)) > len(words) / 10
        if len(words) > 100 and again > 0.75 + 0.15 * grid:
            return f"{again:.0%} of its words say what it has said before"
        if not grid and again * len(words) > 0.8 * _STRETCH and (stretch := _longest_without_news(content)) > 0.77:
            return f"for {_STRETCH} words, {stretch:.0%} of what it says it has said before"
    if crammed and max(again, repeats(content.spelled, RUN * content.scale) / max(1, len(words))) > 0.45:
        return f"{again:.0%} of its words say what it has said before, and the page has no room for so many"
    if again > 0.1 and (share := _repeated_share(content.plain)) > (0.5 if crammed else 0.7):
        return f"{share:.0%} of its sentences stand there before"
    return ""


def _paragraphs_again(content: Words, room: Room) -> str:
    """Say which long paragraph stands there before, nearly word for word, where no page would have it again."""
    length, least = PHRASE * content.scale, _PARAGRAPH * (1 + content.scale) // 2
    known_least = _NEARLY * (_ALONE * least - length)
    if content.repeats < known_least or content.repeats_within(least) < _NEARLY * (least - length) - length:
        return ""
    if not content.echo(_PARAGRAPH // 4 * content.scale):
        return ""
    paragraphs = content.paragraphs
    dense = [paragraph.density for paragraph in paragraphs if paragraph.density and len(paragraph.words) >= 3 * PHRASE]
    usual = median(dense) if dense else 0.0
    known: dict[str, Paragraph] = {}
    longest: list[str] = []
    again = 0
    for paragraph in paragraphs:
        runs = runs_of(content.spell(paragraph.words), length)
        before = list(filter(None, map(known.get, runs))) if len(paragraph.words) >= least else []
        if len(before) > _NEARLY * len(runs) and not _stands_twice(paragraph, before[len(before) // 2], usual):
            again += len(paragraph.words)
            longest = max(longest, paragraph.words, key=len)
        known.update(zip(runs, repeat(paragraph), strict=False))
    if (again < 2 * least and len(longest) < _ALONE * least) or (
        again > 0.3 * len(content.words) and content.letters < 1.5 * room.letters
    ):
        return ""
    return f"it says {_quoted(longest)} again, a paragraph of {len(longest)} words"


def _stands_twice(paragraph: Paragraph, before: Paragraph, usual: float) -> bool:
    """Whether a page may well have both: far from one another, and each in a box of the usual size."""
    far = paragraph.place - before.place > _NEAR_BLOCKS
    return far and all(usual / _USUAL < one.density < _USUAL * usual for one in (paragraph, before))


def _under_numbers(content: Words, room: Room) -> str:
    """Say which paragraph comes again and again, each time under another number."""
    ends = Counter(line[-_END:] for line in content.plain.split("\n") if len(line) >= _END)
    if max(ends.values(), default=0) < _TIMES or room.fits(content):
        return ""
    count, before = 1, ""
    for paragraph in content.paragraphs:
        words = paragraph.words
        text = " ".join([word for word in words[:_HEAD] if not _NUMERAL.fullmatch(word)] + words[_HEAD:])
        count = count + 1 if text == before else 1
        before = text
        if count >= _TIMES and len(text) >= _SENTENCE_LETTERS:
            return f"it says {_quoted([text])} {count} times, each time under another number"
    return ""


def _longest_without_news(content: Words) -> float:
    """Tell the greatest share of what was said before, and not long before, of any stretch of the text."""
    last: dict[str, int] = {}
    length, near = PHRASE * content.scale, _NEAR * content.scale
    seen = bytearray(len(content.words) - length + 1)
    for place, run in candidates(content.spelled, length).items():
        seen[place] = place - last.get(run, -near) < near
        last[run] = place
    sums = [0, *accumulate(seen)]
    return max(map(sub, sums[_STRETCH:], sums), default=0) / _STRETCH


def _repeated_share(plain: str) -> float:
    """Share, by letters, of the sentences and lines that came before; 0 where they are few or a form's.

    Under a ban of repeated words in a row an engine goes on in whole sentences, each time in another order.
    """
    if len(_FIELD.findall(plain)) > 20:
        return 0.0
    parts = [part for part in map(str.strip, _SENTENCE.split(plain.lower())) if len(part) >= 10]
    if len(parts) < 20 or len(set(parts)) > len(parts) / 2:
        return 0.0
    parts = [" ".join(re.findall(r"[^\W_]+", part)) for part in parts]
    parts = [part for part in parts if len(part) >= 10]
    if len(parts) < 20 or len(set(parts)) < 4:
        return 0.0
    return 1 - sum(map(len, set(parts))) / sum(map(len, parts))


def _in_lines(content: Words, lines: int) -> str:
    """Say that it has far more lines, or rows of a table, than the page: columns stand beside one another there."""
    rows = len(_ROW.findall(content.plain)) if lines and "|" in content.plain else 0
    if lines and rows > 1.4 * lines + 8 and (rows := round(rows * places.stacked(content.blocks))) > 1.4 * lines + 8:
        return f"it has {rows} rows where there seem to be {lines} lines"
    if lines and not rows and content.lines > 4 * lines + 20:
        return f"it has {content.lines} lines where there seem to be {lines}"
    return ""


def _too_often(circle: _Cycle, *, crammed: bool, patience: int = 1) -> bool:
    """Whether no page would say this so often: the longer the words, the fewer times are too many.

    Where the text has no room on its page there is no doubt; in tables and forms there is more.
    """
    rounds = circle.rounds / patience
    if crammed:
        return rounds >= 3 and circle.letters * circle.rounds >= 60
    if circle.letters < 40 and rounds < 4:
        return False
    if circle.letters >= 80:
        return rounds >= _LEAST
    if circle.letters >= 40 and "\n" not in circle.text and not _GRID.search(circle.text):
        return rounds >= 2.9  # no line of verse: those stand under one another
    if rounds >= 8 and len(circle.words) * circle.rounds > _WIDEST and "\n" not in circle.text:
        return True
    if usual := _usual(circle):
        return rounds >= usual
    if circle.letters >= 20:
        return rounds >= 4
    return rounds >= 8 and circle.letters * circle.rounds >= 60


def _usual(circle: _Cycle) -> int:
    """Give the rounds that are too many in a table, a form or a list of places with leaders; 0 if it is none."""
    named = any(len(word) > 1 and word.isalpha() for word in circle.words)
    numbered = any(word.isdigit() and word.strip("0") for word in circle.words)
    if numbered and len(_LEADER.findall(circle.text)) >= circle.rounds / 2:
        return 5 if named else 10  # a table of contents names a place once, with its page
    if len(_GRID.findall(circle.text)) <= len(circle.words) * circle.rounds / 10:
        return 0
    if circle.letters >= 10:
        return 8 if circle.letters >= 20 else 24
    return 40 if named else 1000


def _circles(content: Words, *, crammed: bool, counting: bool = False) -> Iterator[_Cycle]:
    """Find the circles of a text's words; `counting` takes all numbers for the same.

    They are looked for where enough runs of words stand more than once, and everywhere in what is `crammed`.
    """
    run_length = RUN * content.scale
    least = _CHARACTERS if counting or content.scale > 1 else _ECHO
    for begin, until in recurring(content.numbered, run_length) if crammed else content.echoing(least):
        if counting and NUMBER not in content.numbered[begin:until]:
            continue  # looked at before
        spelled = content.numbered if counting else content.spelled
        for first, end, period in _periods(spelled[begin:until], run_length):
            if end - first >= _LEAST * period:
                words = content.words[begin + first : begin + first + period]
                named = ["#" if counting and word.isdigit() else word for word in words]
                yield _Cycle(content, begin + first, begin + end, period, named)


def _periods(spelled: str, run_length: int) -> Iterator[tuple[int, int, int]]:
    """Find the stretches in which every word, one character each, stands as it stood some constant number before.

    Yields where each begins and ends, and that number.
    """
    runs = runs_of(spelled, run_length)
    if len(set(runs)) == len(runs):
        return
    start = 0
    for period, alike in groupby(_distances(runs)):
        end = start + len(list(alike))
        if period and end - start >= period:
            yield start - period, end + run_length - 1, period
        start = end


def _distances(runs: list[str]) -> Iterator[int]:
    """Tell of each run how far before it stands; 0 of one that is new."""
    last: dict[str, int] = {}
    for place, run in enumerate(runs):
        yield place - last.get(run, place)
        last[run] = place


def _quoted(words: list[str]) -> str:
    text = " ".join(words)
    return f"“{text[:40]}…”" if len(text) > 40 else f"“{text}”"
