"""How often an engine was kept from repeating itself can be told by what it said."""

from hypothesis import given
from hypothesis import strategies as st

from ocrd.engines.vllm.ngram import Limits, bans


def by_upstream(output: list[int], asked: Limits) -> int:
    """Search the window anew before every token, as upstream's processor does."""
    count = 0
    size = asked.ngram_size
    for end in range(size - 1, len(output)):
        prefix = output[end - size + 1 : end] if size > 1 else []
        starts = range(max(0, end - asked.window_size), end - size + 1)
        banned = {output[start + size - 1] for start in starts if output[start : start + size - 1] == prefix}
        count += bool(banned - asked.whitelist) and size > 1
    return count


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 5), st.integers(1, 30))
def test_bans_are_counted_as_they_were_made(output: list[int], size: int, window: int) -> None:
    asked = Limits(size, window, frozenset())
    assert bans(output, asked) == by_upstream(output, asked)


def test_what_may_always_come_is_no_ban() -> None:
    said = [1, 2, 3, 1, 2, 3]
    assert bans(said, Limits(3, 90, frozenset())) == 1
    assert bans(said, Limits(3, 90, frozenset({3}))) == 0
    assert bans([], Limits(30, 90, frozenset())) == 0
