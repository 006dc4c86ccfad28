"""Every tree that any number of deaths can leave, found as the states of a machine are.

What a daemon does after a death is decided by what lies in its folders, and by nothing else: it has no other memory,
and in this house no other clock. A death before a step leaves the tree of that instant, since SIGKILL lets nothing
run after it. So each tree is lived from once, to its end, and looked at before each step: what a death there would
leave is either a tree that is known, whose future is known as well, or a new one, to be lived from later. When no new
tree is found, every sequence of deaths has been tried, of any length; all pairs are those of the first two.

Other people's files may come after any death, or never: both is tried with each tree.

Where that is too much, only an undisturbed life is lived, and what deaths in it leave is looked at: each step, once.

That this stands for real deaths is held by the tests that kill real processes: every tree that one of them leaves must
be among those found here.
"""

from dataclasses import dataclass
from itertools import count

from crash.house import House
from crash.reaper import Step


@dataclass(frozen=True)
class Explored:
    """What was found."""

    trees: frozenset[bytes]
    """Fingerprints of all trees that deaths can leave."""
    steps: int
    """Of all lives together: pairs of a tree and a step at which a death was looked at."""
    pairs: int
    """Pairs of steps, first in an undisturbed life and then in the life after, that this stands for."""


def explore(house: House, expected: dict[str, bytes], *, whole: bool = True) -> Explored:
    """Live from every tree, and check all that must hold at each of its steps and at its end.

    Unless it is to be the `whole`, only from the first one: then the trees are those that a single death can leave.
    """
    house.build()
    explorer = _Explorer(house, expected)
    explorer.found()
    trails = []
    for number in count():
        if number == len(explorer.known):
            break
        if whole or number == 0:
            trails.append(explorer.live_from(number))
        else:
            explorer.meet_strangers(number)
    if not whole:
        return Explored(frozenset(explorer.known), len(trails[0]), 0)
    lengths = dict(zip(explorer.known, map(len, trails), strict=True))
    return Explored(frozenset(explorer.known), sum(map(len, trails)), sum(lengths[tree] for tree in trails[0]))


class _Explorer:
    def __init__(self, house: House, expected: dict[str, bytes]) -> None:
        self._house = house
        self._expected = expected
        self.known: dict[bytes, int] = {}
        """Trees by fingerprint, numbered as they were found."""

    def found(self) -> bytes:
        """Look at the tree as it is now; returns its fingerprint."""
        tree = self._house.fingerprint()
        if tree not in self.known:
            self._house.check(self._expected)
            self._house.remember(str(len(self.known)))
            self.known[tree] = len(self.known)
        return tree

    def live_from(self, number: int) -> list[bytes]:
        """Live from a tree to the end. Returns the trees before each step, without that of the end."""
        self.meet_strangers(number)
        self._house.go_back(str(number))
        trail: list[bytes] = []
        try:
            self._house.live_on(lambda steps: trail.append(trail[-1] if _changed_nothing(steps) else self.found()))
            self.found()
            self._house.check_end(self._expected)
        except AssertionError as error:
            error.add_note(f"tree {number}, step {len(trail)}")
            raise
        self._house.forget(str(number))
        return trail

    def meet_strangers(self, number: int) -> None:
        """Let other people's files come to a tree."""
        self._house.go_back(str(number))
        assert self.known[self._house.fingerprint()] == number, "something that was seen whole was written again"
        self._house.strangers_come()
        self.found()


def _changed_nothing(steps: list[Step]) -> bool:
    """Whether the step before the last was none that a look at the folders would show."""
    return len(steps) > 1 and steps[-2].call == "fsync"
