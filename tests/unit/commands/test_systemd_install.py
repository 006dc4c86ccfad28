"""The plan of an installation: what it writes, that it comes to an end, and that edited files are safe."""

import os
import subprocess
from pathlib import Path

import pytest

from ocrd.commands import systemd_install
from ocrd.commands.shipped import shipped
from ocrd.commands.systemd_install import Place
from ocrd.config import loader, schema
from ocrd.errors import ConfigError

FOLDERS = "inbox: {0}/in, outbox: {0}/out, archive: {0}/ar, error: {0}/er"
FILE = Path("/etc/ocrd/ocrd.yaml")


def settings(*roots: str) -> schema.Config:
    watches = [f"  - {{name: w{number}, {FOLDERS.format(root)}}}\n" for number, root in enumerate(roots)]
    return loader.parse("watches:\n" + "".join(watches), FILE)


def files(plan: systemd_install.Plan) -> list[systemd_install.Step]:
    return [step for step in plan.steps if step.text.startswith(("write", "replace", "leave", "delete"))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(user=False, root=tmp_path, home=tmp_path / "home")


def test_an_installation_comes_to_an_end(place: Place) -> None:
    chosen = settings("/srv/ocr")
    for step in files(systemd_install.install(chosen, FILE, place)):
        step.do()
    assert sorted(str(path.relative_to(place.root)) for path in place.root.rglob("*") if path.is_file()) == [
        "etc/systemd/system/ocrd.service",
        "etc/systemd/system/ocrd.slice",
        "etc/sysusers.d/ocrd.conf",
        "usr/local/lib/systemd/catalog/ocrd.catalog",
    ]
    assert files(systemd_install.install(chosen, FILE, place)) == []
    for step in files(systemd_install.uninstall(place)):
        step.do()
    assert not [path for path in place.root.rglob("*") if path.is_file()]


def test_folders_that_the_service_can_not_reach_are_named(place: Place) -> None:
    home = place.root / "home/anna"
    (home / "ocr").mkdir(parents=True)
    home.chmod(0o700)
    notes = systemd_install.install(settings("/home/anna/ocr", "/srv/ocr"), FILE, place).notes
    told = [note for note in notes if "closed to others" in note]
    assert any(note.startswith(f"the user ocrd can't reach {home}/ocr") and str(home) in note for note in told), notes
    home.chmod(0o755)
    notes = systemd_install.install(settings("/home/anna/ocr"), FILE, place).notes
    assert not any(f"since {home} is closed" in note for note in notes)


def test_an_edited_file_is_neither_overwritten_nor_deleted(place: Place) -> None:
    for step in files(systemd_install.install(settings("/srv/ocr"), FILE, place)):
        step.do()
    edited = place.units / "ocrd.service"
    edited.write_text(edited.read_text() + "Nice=5\n")
    before = edited.read_text()
    [step] = files(systemd_install.install(settings("/srv/other"), FILE, place))
    step.do()
    assert "which was edited" in step.text
    assert edited.read_text() == before
    assert "/srv/other" in (place.units / "ocrd.service.new").read_text()
    again = systemd_install.install(settings("/srv/other"), FILE, place)
    assert files(again) == []
    assert any("was edited, and stays" in note for note in again.notes)
    assert str(edited) not in " ".join(step.text for step in files(systemd_install.uninstall(place)))


def test_a_file_that_nobody_edited_follows_the_configuration(place: Place) -> None:
    for root in ("/srv/one", "/srv/two"):
        for step in files(systemd_install.install(settings(root), FILE, place)):
            step.do()
    assert "ReadWritePaths=-/srv/two\n" in (place.units / "ocrd.service").read_text()


@pytest.mark.parametrize(
    ("roots", "expected"),
    [
        (["/srv/ocr"], ["/srv/ocr"]),
        (["/srv/ocr/a", "/srv/ocr/b"], ["/srv/ocr/a", "/srv/ocr/b"]),
        (["/srv/ocr", "/srv/ocr/b/c"], ["/srv/ocr"]),
    ],
)
def test_each_watch_is_open_through_one_parent(roots: list[str], expected: list[str]) -> None:
    assert [str(path) for path in systemd_install.roots(settings(*roots))] == expected


def test_folders_far_apart_are_opened_one_by_one() -> None:
    apart = loader.parse(
        "watches: [{name: a, inbox: /mnt/nas/in, outbox: /home/x/out, archive: /mnt/nas/ar, error: /var/e/er}]", FILE
    )
    assert [str(path) for path in systemd_install.roots(apart)] == ["/home/x/out", "/mnt/nas", "/var/e/er"]
    assert "ProtectHome=read-only\n" in systemd_install.unit(apart, FILE, Place(user=False))


def test_a_path_with_blanks_and_percents_is_spelled_for_systemd() -> None:
    chosen = settings("/srv/my scans/100%")
    text = systemd_install.unit(chosen, Path("/etc/my ocrd.yaml"), Place(user=False))
    assert 'run -c "/etc/my ocrd.yaml"\n' in text
    assert 'RequiresMountsFor="/srv/my scans/100%%"\n' in text
    assert 'ReadWritePaths="-/srv/my scans/100%%"\n' in text


def test_a_path_that_a_unit_can_not_hold_is_told(place: Place) -> None:
    with pytest.raises(ConfigError, match=r"/srv/\\xff/ocrd.yaml has characters"):
        systemd_install.install(settings("/srv/ocr"), Path(os.fsdecode(b"/srv/\xff/ocrd.yaml")), place)


def test_a_users_own_service_asks_for_nothing_that_needs_root(tmp_path: Path) -> None:
    text = systemd_install.unit(settings(str(tmp_path)), tmp_path / "o.yaml", Place(user=True, home=tmp_path))
    keys = {line.partition("=")[0] for line in text.splitlines()}
    assert not keys & {"User", "Group", "ProtectSystem", "DeviceAllow", "CapabilityBoundingSet"}
    assert {"WatchdogSec", "NoNewPrivileges", "SystemCallFilter"} <= keys
    assert "WantedBy=default.target\n" in text
    assert "/etc/" not in text


def test_the_template_is_the_unit_for_any_instance() -> None:
    unit, template = (shipped(f"systemd/{name}").splitlines() for name in ("ocrd.service", "ocrd@.service"))
    assert [other for one, other in zip(unit, template, strict=True) if one != other] == [
        "Description=ocrd, scans to Markdown (%i)",
        "ExecStart=/opt/ocrd/.venv/bin/ocrd run -c /etc/ocrd/%i.yaml",
        "RuntimeDirectory=ocrd-%i",
    ]


def test_without_root_the_plan_is_shown_and_nothing_is_done(tmp_path: Path) -> None:
    from house import MODULES, OCRD

    (tmp_path / "ocrd.yaml").write_text("watches: [{name: s, inbox: i, outbox: o, archive: a, error: e}]")
    told = subprocess.run(
        [OCRD, "service", "install", "--dry-run", "-c", tmp_path / "ocrd.yaml"],
        env={**os.environ, "PYTHONPATH": MODULES},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "  - write /etc/systemd/system/ocrd.service\n" in told.stdout
    assert "enable --now ocrd.service" in told.stdout
    assert not Path("/etc/systemd/system/ocrd.service").exists()


def test_folders_that_root_has_just_made_are_given_to_the_group_and_no_others(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root makes folders of root")
    place = Place(user=False, root=tmp_path)

    def given(name: str) -> bool:
        plan = systemd_install.install(settings(f"/srv/{name}"), FILE, place)
        return f"make /srv/{name} a folder of the group ocrd" in [step.text for step in plan.steps]

    for name in ("new", "used", "shared", "linked"):
        (tmp_path / "srv" / name / "in").mkdir(parents=True)
    (tmp_path / "srv/used/in/scan.pdf").touch()
    os.chown(tmp_path / "srv/shared/in", 0, 1)
    (tmp_path / "srv/linked/out").symlink_to("/etc")
    assert [name for name in ("absent", "new", "used", "shared", "linked") if given(name)] == ["absent", "new"]
