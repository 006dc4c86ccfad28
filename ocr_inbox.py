"""The commands `ocrd` and `ocr-inbox`, which are the same.

On PyPI `ocrd` is OCR-D's, another project whose package and command bear the same names. Where both are installed in
one environment, each has overwritten files of the other. So this module stands beside the package, and looks for OCR-D
before anything is imported from there.
"""

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from importlib.metadata import Distribution

OURS = "ocrd.cli:main"
"""Where the command `ocrd` led when this distribution, too, was called `ocrd`: such an installation is no OCR-D."""


def main() -> NoReturn:
    """Run a command; where OCR-D is in its way, say so and end with the exit code of a wrong configuration."""
    if found := ocr_d():
        where = found.locate_file("")
        what = f"OCR-D (`ocrd` {found.version} of PyPI) is installed in {where}, too: they overwrite each other."
        remedy = "Install ocr-inbox in an environment of its own, as pipx or `uv tool install` does, and OCR-D anew."
        with suppress(OSError):  # nobody can be told, as where stderr is a full disk
            print(f"ocrd: {what}\n{remedy}", file=sys.stderr)
        sys.exit(os.EX_CONFIG)
    from ocrd.cli import main as run

    run()


def ocr_d() -> "Distribution | None":
    """Find OCR-D where it would be imported instead of ours, or as a mixture of both."""
    ours = os.path.dirname(os.path.realpath(__file__))
    for folder in sys.path:
        if _names_it(folder):
            from importlib import metadata  # takes as long as all else that a short command imports

            for found in metadata.distributions(name="ocrd", path=[folder]):
                if any(one.name == "ocrd" and one.value != OURS for one in found.entry_points):
                    return found
        if os.path.realpath(folder) == ours:
            break  # what comes later is not imported
    return None


def _names_it(folder: str) -> bool:
    """Whether something called `ocrd` says in a folder of packages that it was installed there."""
    with suppress(OSError):  # no folder: an archive, or nothing at all
        return any(name.lower().startswith("ocrd-") for name in os.listdir(folder or os.curdir))
    return False


if __name__ == "__main__":
    main()
