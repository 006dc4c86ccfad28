"""What engines that let a vision model read have in common: how pages are read again, and what it can't be told."""

from ocrd.errors import DocumentError
from ocrd.model import DEFAULT_APPROACH, Approach, Rung

WARM = Approach(temperature=0.3, ngram_size=20, window_size=400)
"""A loop that greedy decoding falls into has likely ways out: let it take one, and forbid longer loops."""


def rungs(prompt: str, other_prompt: str) -> dict[Rung, Approach]:
    """Give every way; the other prompt only where it is another one."""
    found = {Rung.WARM: WARM, Rung.HALVES: DEFAULT_APPROACH}
    if other_prompt not in ("", prompt):
        found[Rung.PROMPT] = Approach(prompt=other_prompt)
    return found


def refuse_languages(approach: Approach) -> None:
    """Raise DocumentError for languages: the model finds out by itself what it reads."""
    if approach.languages:
        raise DocumentError(
            f"The model reads every language by itself, and can't be told {', '.join(approach.languages)}.",
            "Take `languages` out of the scan's settings.",
        )
