"""Strangers who were there before the daemon: in each folder of each role, under the names that it will look at."""

import shutil
from pathlib import Path

from strangers import Outside, Stranger

from bulkhead.calls import unseen
from bulkhead.daemon import Lodgers, until

PLACES = (
    "inbox/s.pdf", "inbox/s.pdf.ocrd.yaml", "inbox/.ocrd-canary.tmp", "inbox/.ocrd-probe.moved.tmp", "outbox/a.md",
    "outbox/a.json", "outbox/s.md", "archive/a.pdf", "archive/s.pdf", "error/x.pdf", "error/x.pdf.error.md",
    "error/a.pdf.error.md", "work/hook-s.json", "work/notify-s.json", "work/.ocrd-probe.tmp",
    "work/rerun-20260101T000000-abcdef.json", "work/s",
)  # fmt: skip
"""Not those whose settings a scan would be read with: what can't be read there refuses it, as it should."""


def live_with(kind: str, lodgers: Lodgers) -> list[str]:
    """Let a daemon live where one of this kind stands at each place. Returns what the first watch delivered."""
    with unseen():
        lodgers.build("a", "b")
        (lodgers.root / "a/work").mkdir()
        around = lodgers.root.with_name("outside")
        shutil.rmtree(around, ignore_errors=True)
        outside = Outside(around)
        strangers = [Stranger(kind, lodgers.root / "a" / place, outside) for place in PLACES]
        lodgers.drop("a.pdf", b"source a", "a")
        lodgers.drop("x.pdf", b"bad source", "a")
        lodgers.drop("b.pdf", b"source b", "b")
        watch = lodgers.watch("a", history=True, duplicates="link", outputs=("markdown", "json"))

        async def story() -> None:
            await until(lambda: lodgers.files("b", "archive") == ["b.pdf"], "the other watch delivers")
            await until(lambda: _has(lodgers, "archive", "a") or lodgers.paused, "the first one does, or says why not")
            for stranger in strangers:
                stranger.go()
            await until(lambda: _has(lodgers, "archive", "a") and _has(lodgers, "error", "x"), "the first one does")

        lodgers.run(lodgers.config(watch, lodgers.watch("b")), story)
        lodgers.free_folders()
        outside.check()
        assert not lodgers.complaints, lodgers.complaints[0]
        return lodgers.files("a", "outbox")


def _has(lodgers: Lodgers, role: str, stem: str) -> bool:
    """Whether a source of this name lies there, perhaps with a number."""
    return any(
        Path(name).suffix == ".pdf" and name.startswith(stem) and (lodgers.root / "a" / role / name).stat().st_size < 99
        for name in lodgers.files("a", role)
    )
