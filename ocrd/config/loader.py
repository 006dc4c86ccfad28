"""Configuration files and companions read, with every mistake told by line, key, value and what is allowed."""

import difflib
import errno
import importlib.util
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import yaml
from pydantic import ValidationError

from ocrd.config.schema import Config, Engine
from ocrd.config.units import HiddenValueError, Section
from ocrd.config.watch import Options, Watch
from ocrd.display import counted
from ocrd.errors import ConfigError

S = TypeVar("S", bound=Section)

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML was built with it: ten times as fast


_LONGEST = 300
"""Characters of what is told of one mistake in a companion."""


_NO_FILE = re.compile(r'(?<=in )"<[a-z ]+>", ')
"""What YAML calls a text that it was given without the name of its file."""

Location = tuple[int | str, ...]
"""Where a value stands: keys and list positions from the top, such as `("watches", 0, "inbox")`."""


@dataclass(frozen=True, slots=True)
class _Problem:
    where: Location
    text: str


def load(path: Path) -> Config:
    """Read a configuration file.

    Raises ConfigError that names every problem with its line, key, value and what is allowed.
    """
    text = _text(path, "configuration", "Give the right one with -c, or make one with: ocrd init")
    return parse(text, path)


def load_section(model: type[S], path: Path, what: str, remedy: str) -> S:
    """Read a file of settings; `what` it is, for messages. Raises ConfigError as `load` does."""
    text = _text(path, what, f"Give the path of one that is there. {remedy}")
    section, problems = _checked(model, text, path)
    if section is None or problems:
        raise ConfigError(_listed(path, problems), remedy)
    return section


def _text(path: Path, what: str, remedy: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is no UTF-8 ({error.reason})"
        raise ConfigError(f"The {what} {path} can't be read: {why}.", remedy) from error


def _listed(path: Path, problems: list[str]) -> str:
    listed = "".join(f"  {problem}\n" for problem in problems)
    return f"{path} has {counted(len(problems), 'mistake')}:\n{listed}"


def parse(text: str, path: Path) -> Config:
    """Read a configuration from text; `path` is where relative folders start, and the name in messages.

    Raises ConfigError.
    """
    config, problems = _checked(Config, text, path, lambda config: _folder_problems(config.watches))
    if config is None or problems:
        raise ConfigError(_listed(path, problems), "`ocrd help` explains every setting.")
    return config


def parse_options(text: str, path: Path) -> Options:
    """Read a companion, which anybody may have written; `path` is its name in messages. Raises ConfigError."""
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=yaml.SafeLoader)):
            raise ConfigError(f"{path} repeats a part of itself (*).", "Write out what it stands for.")
        options, problems = _checked(Options, text, path)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.", "Mend it.") from error
    if options is None or problems:
        raise ConfigError(
            f"{path} is wrong in {problems[0][:_LONGEST]}.", "Mend it; `ocrd help companion` tells what it can set."
        )
    return options


def options_of(raw: object) -> Options:
    """Read what a sidecar tells of a companion's settings. Raises ConfigError."""
    try:
        return Options.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = _dotted(("settings", *first["loc"]))
        raise ConfigError(
            f"In the facts of the sidecar, {where}: {_explained(Options, dict(first))[:_LONGEST]}.", "Mend them."
        ) from error


def _checked(
    model: type[S], text: str, path: Path, more: Callable[[S], Iterable[_Problem]] = lambda _: ()
) -> tuple[S | None, list[str]]:
    """Read settings and tell what is wrong with them, each with its line. Raises ConfigError if it is no YAML."""
    try:
        root, raw = _composed(text)
        lines = dict(_lines(root, ())) if root else {}
        problems = [_Problem(where, f"the key {where[-1]!r} stands twice") for where in _doubles(root, ())]
    except yaml.YAMLError as error:
        message = _NO_FILE.sub("", " ".join(str(error).split()))
        raise ConfigError(f"{path} is not valid YAML: {message}.", "Mend the line that it names.") from error
    except (ValueError, LookupError, AttributeError, TypeError) as error:  # PyYAML does not translate all of them
        what = f"{path} has a value that does not fit its tag (!!…): {error}."
        raise ConfigError(what, "Leave out the tag, or mend the value.") from error
    except RecursionError as error:
        raise ConfigError(
            f"{path} is nested without end.", "Mend the anchor (&) that contains itself, or the brackets."
        ) from error
    read = None
    try:
        read = model.model_validate(raw if raw is not None else {}, context={"base": path.absolute().parent})
    except ValidationError as error:
        problems += [_Problem(tuple(item["loc"]), _explained(model, dict(item))) for item in _causes(error)]
    else:
        problems += more(read)
    return read, [f"line {_line(lines, one.where)}: {_dotted(one.where)}: {one.text}" for one in problems]


def lines(text: str) -> Iterator[tuple[Location, int]]:
    """List where each value of a YAML text stands, by its keys, with its line from 1. Raises yaml.YAMLError."""
    root, _ = _composed(text)
    return _lines(root, ()) if root else iter(())


def _composed(text: str) -> tuple[yaml.Node | None, object]:
    """Read YAML once, as nodes that know their lines and as values. Raises yaml.YAMLError, RecursionError."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return root, loader.construct_document(root) if root else None
    finally:
        loader.dispose()


def without_watches() -> Config:
    """Return the defaults for a run without watches, with the engine that this installation has."""
    kind = "vllm" if importlib.util.find_spec("vllm") else "cpu"
    return Config.model_construct(engine=Engine(kind=kind), watches=())


_IN_WORDS = {
    "too_short": "must hold one at least",
    "tuple_type": "must be a list",
    "model_type": "must be a section, with keys of its own",
}
"""What pydantic says in Python's own words."""


def _causes(error: ValidationError) -> Iterator[Mapping[str, Any]]:
    """Leave out that a list is too short where that is only since what stands in it is wrong."""
    every = error.errors()
    for one in every:
        where = one["loc"]
        if one["type"] != "too_short" or not any(
            other["loc"][: len(where)] == where != other["loc"] for other in every
        ):
            yield one


def _explained(section: type[Section], error: dict[str, Any]) -> str:
    """Say what is wrong with a value, what it is, and what is allowed."""
    where, value = error["loc"], error["input"]
    match error["type"]:
        case "extra_forbidden":
            known = _known_keys(section, where[:-1])
            near = difflib.get_close_matches(str(where[-1]), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            return f"unknown key; {hint}"
        case "missing":
            return "this key must be given"
        case kind if kind in _IN_WORDS:
            return f"{_IN_WORDS[kind]}, not {value!r}"
        case "value_error" if isinstance(error["ctx"]["error"], HiddenValueError):
            return str(error["ctx"]["error"])
        case "value_error":
            return f"{error['ctx']['error']}, not {value!r}"
        case _:
            return f"{error['msg'][0].lower()}{error['msg'][1:]}, not {value!r}"


def _known_keys(section: type[Section], where: Location) -> list[str]:
    model: Any = section
    for key in where:
        model = model.model_fields[key].annotation if isinstance(key, str) else get_args(model)[0]
    return list(model.model_fields)


_OWN = ("inbox", "work")
"""Folders of a watch in which no other folder may lie."""
_PATIENCE = 5.0
"""Seconds in which the disks of all folders must answer; those that don't are compared by their names alone."""

_Key = tuple[int, str]
"""Number and role of a folder."""


def _folder_problems(watches: tuple[Watch, ...]) -> Iterator[_Problem]:
    """Find what would make a loop or mix up two watches."""
    names: set[str] = set()
    for index, watch in enumerate(watches):
        if watch.name in names:
            yield _Problem(("watches", index, "name"), f"the name {watch.name!r} is taken by another watch")
        names.add(watch.name)
    places = _Places.of(watches)
    own: dict[object, list[_Key]] = {}
    for key in places.folders:
        if key[1] in _OWN:
            own.setdefault(places.around[key][0], []).append(key)
    for (index, role), folder in places.folders.items():
        if (index, role) in places.circles:
            yield _Problem(("watches", index, role), f"{folder} is, or lies in, a link that leads to itself")
        around = {other for place in places.around[index, role] for other in own.get(place, ())}
        for other_index, other_role in sorted(around):
            within = places.folders[other_index, other_role]
            same = places.around[index, role][0] == places.around[other_index, other_role][0]
            if (index, role) == (other_index, other_role):
                continue
            if same and (other_index, other_role) > (index, role) and role in _OWN:
                continue  # the same pair, told once
            other = watches[other_index].name
            text = f"{folder} lies in the {other_role} of watch {other!r} ({within}); it needs a place of its own"
            yield _Problem(("watches", index, role), text)
    yield from _mixing_problems(watches, places)
    yield from _sharing_problems(watches, places)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the folders of all watches really lie."""

    folders: dict[_Key, Path]
    """Without links in their paths."""
    around: dict[_Key, list[object]]
    """What each folder is, and those around it: by device and inode, since a mount can give one two names, or by its
    path where it is not there."""
    circles: set[_Key]
    """Folders that links in a circle keep from being anywhere."""

    @classmethod
    def of(cls, watches: tuple[Watch, ...]) -> Self:
        """Look at the folders of each watch in a thread of its own: a share that hangs holds nobody up for long."""
        paths = {(index, role): path for index, watch in enumerate(watches) for role, path in watch.folders.items()}
        found: dict[_Key, tuple[Path, list[object]]] = {}
        circles: set[_Key] = set()
        known = _Known()

        def look(number: int) -> None:
            for role, path in watches[number].folders.items():
                try:
                    real = known.real(path)
                except (OSError, RuntimeError):
                    circles.add((number, role))
                else:
                    found[number, role] = real, known.around(real)

        threads = [threading.Thread(target=look, args=[index], daemon=True) for index in range(len(watches))]
        deadline = time.monotonic() + _PATIENCE
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for key, path in paths.items():
            named = Path(os.path.normpath(path))
            found.setdefault(key, (named, [named, *named.parents]))
        return cls({key: found[key][0] for key in paths}, {key: found[key][1] for key in paths}, circles)


def _followed(link: Path) -> Path:
    """Return where a link leads. Raises OSError or RuntimeError where that is in a circle."""
    try:
        return Path(os.path.realpath(link, strict=True))
    except OSError as error:
        if error.errno == errno.ELOOP:  # Python from 3.13 on says so only where all is to be there
            raise
        return link.resolve()


class _Known:
    """Looks at each folder once: those of hundreds of watches lie in the same few. For several threads."""

    def __init__(self) -> None:
        self._real: dict[Path, Path] = {}
        self._around: dict[Path, list[object]] = {}

    def real(self, path: Path) -> Path:
        """Follow the links in a path. Raises OSError or RuntimeError where they lead in a circle."""
        if path not in self._real:
            above = self.real(path.parent) if path != path.parent else path
            here = above.parent if path.name == ".." else above / path.name
            self._real[path] = _followed(here) if here.is_symlink() else here
        return self._real[path]

    def around(self, real: Path) -> list[object]:
        """Tell what a folder is, and those that it lies in."""
        if real not in self._around:
            above = self.around(real.parent) if real != real.parent else []
            self._around[real] = [_identity(real), *above]
        return self._around[real]


def _identity(folder: Path) -> object:
    try:
        status = folder.stat()
    except OSError:
        return folder
    return status.st_dev, status.st_ino


def _mixing_problems(watches: tuple[Watch, ...], places: _Places) -> Iterator[_Problem]:
    """Find watches whose folder with the work folders of all hosts holds others, among which these can't be told."""
    for index, watch in enumerate(watches):
        if not watch.is_among_others:
            continue
        _, holding, *_ = places.around[index, "work"]
        held = (folder for key, folder in places.folders.items() if key[1] != "work" and holding in places.around[key])
        if (folder := next(held, None)) is not None:
            text = f"{folder} lies in the same folder; those of several hosts need one that holds nothing else"
            yield _Problem(("watches", index, "work"), text)


def _sharing_problems(watches: tuple[Watch, ...], places: _Places) -> Iterator[_Problem]:
    """Find watches of which nothing would tell whose a delivered file is: neither a ledger nor the archive."""
    first: dict[tuple[object, object], Watch] = {}
    for index, watch in enumerate(watches):
        other = first.setdefault((places.around[index, "outbox"][0], places.around[index, "archive"][0]), watch)
        if other is not watch and not (watch.keeps_ledger and other.keeps_ledger):
            text = (
                f"watch {other.name!r} has the same, and the same archive; without history on both, nothing would tell "
                f"whose a file is"
            )
            yield _Problem(("watches", index, "outbox"), text)


def _lines(node: yaml.Node, where: Location) -> Iterator[tuple[Location, int]]:
    yield where, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            for location, line in _lines(value, (*where, key.value)):
                yield location, line if location != (*where, key.value) else key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*where, index))


def _doubles(node: yaml.Node | None, where: Location) -> Iterator[Location]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield (*where, key.value)
            seen.add(key.value)
            yield from _doubles(value, (*where, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _doubles(value, (*where, index))


def _line(lines: Mapping[Location, int], where: Location) -> int:
    """Find the line of a value, or of the nearest thing around it that the file has."""
    while where and where not in lines:
        where = where[:-1]
    return lines.get(where, 1)


def _dotted(where: Location) -> str:
    return ".".join(str(key) for key in where) or "(the file)"
