"""Where every case would take hours, tests draw a sample, by a seed that the run prints.

`make test` always draws the same one, so that it fails by what was changed and not by luck; `make test-all`, and pytest
when it is called by itself, draw another one in each run. `OCRD_TEST_SEED=...` draws a given one again. All processes
of one run share the seed.
"""

import os
import random

VARIABLE = "OCRD_TEST_SEED"


def choose_seed() -> None:
    """Choose the seed of this run, unless the environment gives one; processes that are started later inherit it."""
    os.environ.setdefault(VARIABLE, str(random.SystemRandom().randrange(10**6)))


def seed() -> str:
    """Return the seed of this run."""
    return os.environ[VARIABLE]


def generator(*purpose: object) -> random.Random:
    """Give random numbers that depend on the seed and on what they are for, and not on what was drawn before."""
    return random.Random(f"{seed()} {purpose}")  # noqa: S311 - a sample, no secret
