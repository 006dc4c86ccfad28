"""A daemon with a day's work before it, and servers that answer at once: what it uses at each quarter of the way.

    python bench/daemon/long_run.py [PAGES]    # 20,000: half an hour on two cores

Half of the pages lie in documents of 500, the others in files of their own. All of them are in the inbox when the
daemon starts. The daemon is the real one with a render worker and the engine `openai`, the pages are small and almost
empty, and the servers are processes of their own that read nothing.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))

from house import House, stop, wait_for
from load import Usage, one_page_pdfs

_LONG = 500
"""Pages of a long document."""
_SERVERS = 2
_POINTS = (140, 140)
_PROFILE = """
source: none
licence: none
prompt: <image>Read this page.
chat: true
dialect: markdown
max_tokens: 8192
max_model_len: 16384
image: {scheme: patches, dpi: 72, longest_edge: 280, factor: 28}
"""
_ROWS = 4


def main(pages: int) -> None:
    """Drop the files, let them be read, and print a row at each quarter."""
    with tempfile.TemporaryDirectory(prefix="ocrd-long-run-") as root, ExitStack() as stack:
        servers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, Path(__file__).with_name("servers.py"), "serve"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )
            for _ in range(_SERVERS)
        ]  # fmt: skip
        house = House(Path(root))
        stack.callback(house.close)
        endpoints = [server.stdout.readline().strip() for server in servers if server.stdout]
        (house.root / "small.yaml").write_text(_PROFILE)
        house.configure(
            engine={"kind": "openai", "profile": str(house.root / "small.yaml"), "openai": {"endpoints": endpoints}},
            watch={"pages": {"text_layer": "ignore", "second_readings": []}},
        )
        files = _drop(house, pages)
        print("| pages out | seconds | CPU a page | memory | open files | threads | workers' memory |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        _run(house, files, pages)
        asked = sum(int(server.communicate()[0]) for server in servers)
    print(f"\n{pages:,} pages in {files:,} files; the servers were asked for {asked:,}.")


def _drop(house: House, pages: int) -> int:
    """Put all files into the inbox; return how many."""
    long = pages // 2 // _LONG
    for number in range(long):
        house.drop(f"long-{number:03}.pdf", _LONG, size=_POINTS)
    short = pages - long * _LONG
    for number, data in zip(range(short), one_page_pdfs(), strict=False):
        (house.path("inbox") / f"short-{number:05}.pdf").write_bytes(data)
    return long + short


def _run(house: House, files: int, pages: int) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("ready") or daemon.poll() is not None, 600)
    began, last, rows = time.monotonic(), Usage.of(daemon, 0), 0
    while rows < _ROWS:
        time.sleep(2)
        if daemon.poll() is not None:
            sys.exit(house.log.read_text()[-2000:])
        usage = Usage.of(daemon, sum(_pages(name) for name in house.files("archive")))
        if _ROWS * usage.done // pages > rows:
            cost = 1000 * (usage.cpu - last.cpu) / (usage.done - last.done)
            print(
                f"| {usage.done:,} | {time.monotonic() - began:.0f} | {cost:.1f} ms | {usage.rss} MiB | {usage.files} "
                f"| {usage.threads} | {usage.children_rss} MiB |",
                flush=True,
            )
            last, rows = usage, _ROWS * usage.done // pages
    stop(daemon)
    if house.files("error") or len(house.files("outbox")) != files:
        sys.exit(f"{len(house.files('outbox'))} of {files} files came out; in the error folder: {house.files('error')}")


def _pages(name: str) -> int:
    return _LONG if name.startswith("long") else 1


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
