"""Files that come with ocrd and are not its code: the units of systemd, the dashboard."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped(path: str) -> str:
    """Return the text of one of them, such as `systemd/ocrd.service`.

    They lie in the package where that is installed, and beside it in a checkout.
    """
    installed = _PACKAGE / path
    return (installed if installed.exists() else _PACKAGE.parent / path).read_text(encoding="utf-8")
