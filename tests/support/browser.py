"""A real browser, without a window, that asks nothing of anybody by itself."""

import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(not BROWSER, reason="no Chromium is installed: apt-get install chromium")
_ALONE = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")


def _run(address: str, folder: Path, *options: str, dark: bool = False) -> subprocess.CompletedProcess[str]:
    assert BROWSER
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *_ALONE,
            f"--user-data-dir={folder / 'browser'}",
            *(["--blink-settings=preferredColorScheme=0"] if dark else []),
            *options, address,
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def _browse(page: Path, *options: str, dark: bool = False) -> str:
    return _run(page.as_uri(), page.parent, *options, dark=dark).stdout


def visited(address: str, folder: Path, seconds: float) -> tuple[str, list[str]]:
    """Return what the browser made of a page so many seconds of its clock after it came, and what its scripts said."""
    options = ("--dump-dom", "--enable-logging=stderr", f"--virtual-time-budget={round(seconds * 1000)}")
    done = _run(address, folder, *options)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def screenshot(page: Path, size: tuple[int, int], *, dark: bool = False) -> Image.Image:
    """See a page in a window of this width and height in pixels."""
    shot = page.with_name(f"shot-{size[0]}-{dark}.png")
    view = ("--hide-scrollbars", "--force-device-scale-factor=1", f"--window-size={size[0]},{size[1]}")
    _browse(page, *view, f"--screenshot={shot}", dark=dark)
    return Image.open(shot).convert("RGB")


def dom(page: Path) -> str:
    """Return what the browser made of a page, as HTML, once it is loaded and its scripts have run."""
    return _browse(page, "--dump-dom")


def printed(page: Path) -> Path:
    """Print a page, and return the path of the PDF."""
    pdf = page.with_suffix(".pdf")
    _browse(page, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    return pdf
