"""Configuration files and companions read, with every mistake told by line, key, value and what is allowed."""

import difflib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from ocrd.config.schema import Config, Engine, Options, Watch
from ocrd.config.units import Section
from ocrd.errors import ConfigError

S = TypeVar("S", bound=Section)

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML was built with it: ten times as fast


_LONGEST = 300
"""Characters of what is told of one mistake in a companion."""


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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "Give the right one with -c, or write one with: ocrd config init > ocrd.yaml"
        what = error.strerror if isinstance(error, OSError) else f"it is no UTF-8 ({error.reason})"
        raise ConfigError(f"The configuration {path} can't be read: {what}.", remedy) from error
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Read a configuration from text; `path` is where relative folders start, and the name in messages.

    Raises ConfigError.
    """
    config, problems = _checked(Config, text, path, lambda config: _folder_problems(config.watches))
    if config is None or problems:
        listed = "".join(f"  {problem}\n" for problem in problems)
        raise ConfigError(
            f"{path} has {len(problems)} problem(s):\n{listed}", "See config.example.yaml for every setting."
        )
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
        raise ConfigError(f"{path} is not valid YAML: {error}.", "Mend the line that it names.") from error
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
_ROLES = ("inbox", "outbox", "archive", "error", "work")


def _folder_problems(watches: tuple[Watch, ...]) -> Iterator[_Problem]:
    """Find what would make a loop or mix up two watches."""
    names: set[str] = set()
    for index, watch in enumerate(watches):
        if watch.name in names:
            yield _Problem(("watches", index, "name"), f"the name {watch.name!r} is taken by another watch")
        names.add(watch.name)
    folders = {(index, role): _folder(watch, role) for index, watch in enumerate(watches) for role in _ROLES}
    own: dict[Path, list[tuple[int, str]]] = {}
    for (index, role), folder in folders.items():
        if role in _OWN:
            own.setdefault(folder, []).append((index, role))
    for (index, role), folder in folders.items():
        around = [other for within in (folder, *folder.parents) for other in own.get(within, ())]
        for other_index, other_role in sorted(around):
            within = folders[other_index, other_role]
            if (index, role) == (other_index, other_role):
                continue
            if folder == within and (other_index, other_role) > (index, role) and role in _OWN:
                continue  # the same pair, told once
            other = watches[other_index].name
            text = f"{folder} lies in the {other_role} of watch {other!r} ({within}); it needs a place of its own"
            yield _Problem(("watches", index, role), text)
    yield from _sharing_problems(watches, folders)


def _sharing_problems(watches: tuple[Watch, ...], folders: Mapping[tuple[int, str], Path]) -> Iterator[_Problem]:
    """Find watches of which nothing would tell whose a delivered file is: neither a ledger nor the archive."""
    first: dict[tuple[Path, Path], Watch] = {}
    for index, watch in enumerate(watches):
        other = first.setdefault((folders[index, "outbox"], folders[index, "archive"]), watch)
        if other is not watch and not (watch.keeps_ledger and other.keeps_ledger):
            text = (
                f"watch {other.name!r} has the same, and the same archive; without history on both, nothing would tell "
                f"whose a file is"
            )
            yield _Problem(("watches", index, "outbox"), text)


def _folder(watch: Watch, role: str) -> Path:
    folder: Path = watch.work_folder if role == "work" else getattr(watch, role)
    return folder.resolve()


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
