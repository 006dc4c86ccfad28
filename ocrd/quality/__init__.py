"""Verdicts: what is held of a reading, by the facts of its page and by the text alone.

In: a `Reading` and `PageFacts`. Out: a `Verdict` and its reason in words. Pure. May import `model` and what lies
below.
"""
