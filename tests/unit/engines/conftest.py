"""What the tests of engines share."""

import pytest

from ocrd.engines.openai import endpoint


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that failed are asked again at once."""
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(endpoint, "LONGEST_WAIT", 0.1)
