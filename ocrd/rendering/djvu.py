"""DjVu, decoded by the programs of DjVuLibre where they are installed. For the render workers alone."""

import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from ocrd.concurrency.processes import die_with_parent
from ocrd.errors import DocumentError

if TYPE_CHECKING:
    from PIL import Image

MAGIC = b"AT&TFORM"
_PAGE = re.compile(rb"^ +INFO \[\d+\] +DjVu \d+x\d+, .*?\b(\d+) dpi", re.MULTILINE)
_INPUT = "/dev/stdin"
_SECONDS = 60
"""For a page; a worker's own limit does not count what its programs take."""


def resolutions(path: Path) -> list[int]:
    """List the dots per inch of each page. Raises DocumentError."""
    if not shutil.which("ddjvu"):
        raise DocumentError(
            "This is a DjVu document, and DjVuLibre is not installed.",
            "Install it (apt install djvulibre-bin), or save the document as a PDF.",
        )
    found = [int(dpi) for dpi in _PAGE.findall(_output(path, "djvudump", _INPUT).stdout)]
    if not found:
        raise DocumentError(
            "This DjVu document has no pages in it: they are damaged, or lie in other files.",
            "Save it as one file, bundled, or as a PDF.",
        )
    return found


def decoded(path: Path, index: int) -> tuple["Image.Image", str]:
    """Decode a page, and give what DjVuLibre complained of. Raises ValueError if there is nothing of it."""
    from PIL import Image

    done = _output(path, "ddjvu", "-format=ppm", f"-page={index + 1}", _INPUT, "-")
    complaint = " ".join(done.stderr.decode("utf-8", "replace").replace("ddjvu: ", "").split())
    if not done.stdout:
        raise ValueError(complaint or f"ddjvu ended with {done.returncode}")
    image = Image.open(io.BytesIO(done.stdout), formats=["PPM"])
    image.load()
    return image, complaint


def _output(path: Path, *command: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a program on a file to its end. Raises OSError, subprocess.TimeoutExpired."""
    with path.open("rb") as file:  # a path may be one of this process alone
        return subprocess.run(  # noqa: S603 - fixed programs
            command,
            stdin=file,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            preexec_fn=die_with_parent,  # a worker has one thread
        )
