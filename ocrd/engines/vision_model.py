"""What engines that let a vision model read have in common: what it sees and is asked, and how pages are read again."""

import functools

from ocrd.config.profile import ImageRule, Profile
from ocrd.engines.vllm import deepseek, image_size
from ocrd.errors import DocumentError
from ocrd.markup import dialects
from ocrd.markup.dialects import Normalised
from ocrd.model import DEFAULT_APPROACH, Approach, PageSizer, PixelSize, Rung

WARM = Approach(temperature=0.3, ngram_size=20, window_size=400)
"""A loop that greedy decoding falls into has likely ways out: let it take one, and forbid longer loops."""


def rungs(prompt: str, other_prompt: str) -> dict[Rung, Approach]:
    """Give every way; the other prompt only where it is another one."""
    found = {Rung.WARM: WARM, Rung.HALVES: DEFAULT_APPROACH}
    if other_prompt not in ("", prompt):
        found[Rung.PROMPT] = Approach(prompt=other_prompt)
    return found


def page_size(rule: ImageRule) -> PageSizer:
    """Return what gives a page image exactly the pixels that the model sees."""
    if rule.scheme == "deepseek":
        return functools.partial(deepseek.page_size, tile=rule.tile)
    return functools.partial(image_size.page_size, rule=rule)


def dialect(profile: Profile, asked: str) -> str:
    """Return the name of the dialect in which the model answers this prompt."""
    other = profile.other_dialect if asked == profile.other_prompt else None
    return other or profile.dialect


def normalised(text: str, profile: Profile, asked: str, size: PixelSize) -> Normalised:
    """Bring the answer to a prompt into the form of `layout_blocks`; `size` is the image's, in pixels.

    What an owner asks in words of their own may be answered in any form: that misses none.
    """
    answer = dialects.normalise(text, dialect(profile, asked), size)
    return answer if asked in (profile.prompt, profile.other_prompt) else answer._replace(missed_dialect="")


def refuse_languages(approach: Approach) -> None:
    """Raise DocumentError for languages: the model finds out by itself what it reads."""
    if approach.languages:
        raise DocumentError(
            f"The model reads every language by itself, and can't be told {', '.join(approach.languages)}.",
            "Take `languages` out of the scan's settings.",
        )
