"""Whose a folder is, by whatever name."""

from pathlib import Path

import pytest

from ocrd.config.watch import Watch
from ocrd.errors import MachineError
from ocrd.storage.roles import Roles, identity_of


def watch(root: Path, name: str, **others: Path) -> Watch:
    folders = {role: root / name / role for role in ("inbox", "outbox", "archive", "error")} | others
    made = Watch(name=name, **{role: str(path) for role, path in folders.items()})
    for path in made.folders.values():
        if not path.is_symlink():
            path.mkdir(parents=True, exist_ok=True)
    return made


@pytest.mark.parametrize("others", ["inbox", "outbox"])
def test_an_inbox_that_is_anothers_folder_by_a_link_is_refused_until_that_is_gone(tmp_path: Path, others: str) -> None:
    roles, first = Roles(), watch(tmp_path, "a")
    roles.look_up("a", first)
    link = tmp_path / "link"
    link.symlink_to(first.folders[others])
    second = watch(tmp_path, "b", inbox=link)
    for _ in range(2):
        with pytest.raises(
            MachineError, match=rf"The inbox \S+/link is the same folder as the {others} .* of watch a,"
        ):
            roles.look_up("b", second)
    with pytest.raises(MachineError, match=r"of watch b,"):
        roles.look_up("a", first)
    roles.forget("b")
    roles.look_up("a", first)
    roles.forget("a")
    roles.look_up("b", second)


def test_watches_may_share_where_they_deliver(tmp_path: Path) -> None:
    roles, first = Roles(), watch(tmp_path, "a")
    roles.look_up("a", first)
    roles.look_up("b", watch(tmp_path, "b", outbox=first.outbox, archive=first.archive, error=first.error))


def test_all_folders_that_have_a_role_now_are_known(tmp_path: Path) -> None:
    roles, first, second = Roles(), watch(tmp_path, "a"), watch(tmp_path, "b")

    def those_of(*watches: Watch) -> frozenset[tuple[int, int]]:
        return frozenset(identity_of(path.stat()) for one in watches for path in one.folders.values() if path.exists())

    roles.look_up("a", first)
    roles.look_up("b", second)
    assert roles.identities == those_of(first, second)
    first.inbox.rename(tmp_path / "elsewhere")
    roles.look_up("a", first)
    assert roles.identities == those_of(first, second)
    first.inbox.mkdir()
    roles.look_up("a", first)
    assert roles.identities == those_of(first, second)
    roles.forget("b")
    assert roles.identities == those_of(first)
