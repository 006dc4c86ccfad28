"""What a job brings forth: several named files, finished all at once.

    FOLDER/figures/page-3-figure-1.jpg  pictures cropped from the pages, durable before their page's record counts
    FOLDER/result/scan.json …           the other files, called by their endings
    FOLDER/result.json                  the list of both; with it, and not before, the result is finished

The files go out under one stem: `scan.md`, `scan.json`, `scan.assets/…`, and of a scan that was taken apart
`scan-1.md`, `scan-2.md`, … Which stem is free shows only then, so the Markdown holds STEM in its place.
"""

import json
import os
import re
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ocrd.output import kinds, split
from ocrd.output.result_names import ASSETS, with_stem
from ocrd.storage import comparing, durable, os_errors

ORDER = (ASSETS, *(kind.ending for kind in kinds.ALL))
"""In which they go out: figures first, then as the registry of output kinds has it."""
Content = bytes | Path
"""What a file of a result is to hold: bytes, or what lies, durably, in the job's folder under another name."""
_LIST = "result.json"
_FIGURE = re.compile(r"page-\d+-.+")


class Result:
    """The files of one job, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep_figures(self, figures: Mapping[str, bytes]) -> None:
        """Make the figures of a page durable. Raises MachineError."""
        folder = self._folder / "figures"
        if figures:
            durable.make_folders(folder, below=self._folder)
        for name, data in figures.items():
            durable.write_own(folder / name, data)

    def keep_no_figures_but(self, names: Container[str]) -> None:
        """Delete the figures of pages that are to be read again. Raises MachineError."""
        folder = self._folder / "figures"
        with os_errors.machine_faults("look into", folder), suppress(FileNotFoundError):
            for name in os.listdir(folder):
                if _FIGURE.fullmatch(name) and name not in names:
                    durable.remove(folder / name)

    def figure(self, name: str) -> bytes:
        """Read a figure that was kept. Raises MachineError."""
        path = self._folder / "figures" / name
        with os_errors.machine_faults("read", path):
            return path.read_bytes()

    def finish(
        self, files: Mapping[str, Content], figures: Iterable[str] = (), facts: Mapping[str, str | int] | None = None
    ) -> None:
        """Make the result durable: files by ending, and names of figures that were kept. Raises MachineError.

        `facts` are kept beside them, for the ledger.
        """
        folder = self._folder / "result"
        durable.make_folders(folder, below=self._folder)
        for ending, content in files.items():
            keep(content, folder / f"scan{ending}")
        listed = {"endings": sorted(files, key=_place), "figures": sorted(figures), "facts": dict(facts or {})}
        durable.write_own(self._folder / _LIST, json.dumps(listed).encode())

    @property
    def facts(self) -> dict[str, Any]:
        """What was kept for the ledger; nothing as long as the result is not finished."""
        facts: dict[str, Any] = self._listed().get("facts", {})
        return facts

    @property
    def pieces(self) -> "tuple[Piece, ...]":
        """What goes out, in its order; empty as long as the result is not finished."""
        listed = self._listed()
        if not listed:
            return ()
        figures = tuple(self._folder / "figures" / name for name in listed["figures"])
        folders = (Folder(figures),) if figures else ()
        return (*folders, *(_piece(ending, self._folder / "result" / f"scan{ending}") for ending in listed["endings"]))

    def _listed(self) -> dict[str, Any]:
        with os_errors.machine_faults("read", self._folder / _LIST):
            try:
                listed: dict[str, Any] = json.loads((self._folder / _LIST).read_bytes())
            except FileNotFoundError:
                return {}
            return listed


def keep(content: Content, path: Path) -> None:
    """Put a content at `path`, in the job's folder, replacing what stood there. Raises MachineError."""
    if isinstance(content, Path):
        durable.keep_own(content, path)
    else:
        durable.write_own(path, content)


class Piece:
    """One thing that goes out."""

    def __init__(self, ending: str, source: Path) -> None:
        self.ending = ending
        self._source = source

    def put(self, target: Path, tag: str) -> None:
        """Put it at a free name. Raises FileExistsError, MachineError."""
        durable.copy_new(self._source, target, tag=tag)

    def lies_at(self, target: Path) -> bool:
        """Whether it was put there before."""
        return comparing.same_file(self._source, target)

    def withdraw(self, target: Path) -> None:
        """Take away what was put there. Raises MachineError."""
        durable.remove(target)


class Linking(Piece):
    """A text in which `result_names.STEM` becomes the name that it goes out under."""

    def put(self, target: Path, tag: str) -> None:
        durable.write_new(target, self._written(target), tag=tag)

    def lies_at(self, target: Path) -> bool:
        return comparing.holds(target, self._written(target))

    def _written(self, target: Path) -> bytes:
        with os_errors.machine_faults("read", self._source):
            text = self._source.read_bytes().decode()
        return with_stem(text, target.name.removesuffix(self.ending)).encode()


class Folder(Piece):
    """The figures."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        super().__init__(ASSETS, files[0].parent)
        self._files = files

    def put(self, target: Path, tag: str) -> None:
        if self._is_remnant(target):
            self.withdraw(target)
        durable.folder_new(target, self._files, tag=tag)

    def _is_remnant(self, target: Path) -> bool:
        """Whether some of our files, and nothing else, lie there: what a death in the middle of `withdraw` leaves."""
        ours = {file.name: file for file in self._files}
        with os_errors.machine_faults("look into", target):
            found = os.listdir(target) if target.is_dir() and not target.is_symlink() else []
        return 0 < len(found) < len(ours) and all(
            name in ours and comparing.same_file(ours[name], target / name) for name in found
        )

    def lies_at(self, target: Path) -> bool:
        return not target.is_symlink() and all(comparing.same_file(file, target / file.name) for file in self._files)

    def withdraw(self, target: Path) -> None:
        for file in self._files:
            durable.remove(target / file.name)
        durable.remove_empty(target)


def _place(ending: str) -> tuple[int, int]:
    """Return what to sort endings by: by their kind, and of several parts each by its number."""
    part, suffix = split.part_and_suffix(ending)
    return ORDER.index(suffix), part


def _piece(ending: str, source: Path) -> Piece:
    kind = kinds.ending_in(split.part_and_suffix(ending)[1])
    return Linking(ending, source) if kind and kind.has_stem else Piece(ending, source)
