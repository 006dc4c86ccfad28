"""The container: built from the Containerfile, started as compose.yaml says, killed at work and started again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import container
import pytest
from house import wait_for

UID, GID = 12345, 12346
"""Of the owner of the folders; nobody on this machine."""
CONFIG = "/srv/ocr/ocrd.yaml"
NO_NETWORK = "services: {ocrd: {network_mode: none}}\n"
"""Beside compose.yaml: it needs none, and so no bridge is made on this machine."""
SAMPLES = container.ROOT / "ocrd/samples"
_why_not = container.why_not()
pytestmark = pytest.mark.skipif(bool(_why_not), reason=_why_not)


@pytest.fixture(scope="module")
def podman() -> Iterator[container.Podman]:
    podman = container.Podman()
    try:
        if why_not := podman.why_not():
            pytest.skip(why_not)
        podman.build()
        yield podman
    finally:
        podman.close()


class Home:
    """A folder with compose.yaml, made as its first lines say, and the container that runs there."""

    def __init__(self, podman: container.Podman, folder: Path) -> None:
        folder.mkdir()
        shutil.copy(container.ROOT / "compose.yaml", folder)
        (folder / "compose.override.yaml").write_text(NO_NETWORK)
        self.podman, self.folder, self.ocr = podman, folder, folder / "ocr"
        self.ocr.mkdir()
        shutil.chown(self.ocr, UID, GID)
        self._name = ""

    def compose(self, *arguments: str) -> str:
        return self.podman.compose(self.folder, *arguments, OCRD_UID=str(UID), OCRD_GID=str(GID)).stdout

    def up(self) -> None:
        """Start it, and wait until it is healthy by the check that compose.yaml gives it."""
        self.compose("up", "--detach", "--no-build")
        [self._name] = self.podman.run("ps", "--format", "{{.Names}}").stdout.split()
        wait_for(lambda: self.podman.run("healthcheck", "run", self._name, check=False).returncode == 0)

    def kill(self) -> None:
        self.podman.run("kill", "--signal", "KILL", self._name)
        wait_for(lambda: not self.podman.run("ps", "--format", "{{.Names}}").stdout)

    def inside(self, script: str) -> str:
        return self.podman.run("exec", self._name, "sh", "-c", script).stdout

    def drop(self, source: Path, name: str) -> None:
        part = self.ocr / "inbox" / f"{name}.part"
        shutil.copy(source, part)
        part.rename(part.with_suffix(""))

    def files(self, role: str) -> list[str]:
        return sorted(path.name for path in (self.ocr / role).iterdir())


@pytest.fixture(scope="module")
def home(podman: container.Podman, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(podman, tmp_path_factory.mktemp("container") / "some where")
    home.compose("run", "--rm", "-T", "ocrd", "init", "-c", CONFIG, "--folder", "/srv/ocr", "--no-gpu")
    return home


def test_compose_starts_it_as_an_ordinary_user_without_privileges_on_a_root_that_is_read_only(home: Home) -> None:
    home.up()
    rights = home.inside("id -u; id -g; grep -h -e ^Cap -e ^NoNewPrivs /proc/self/status").split()
    assert rights[:2] == [str(UID), str(GID)]
    held = dict(zip(rights[2::2], rights[3::2], strict=True))
    assert held.pop("NoNewPrivs:") == "1"
    assert {int(value, 16) for value in held.values()} == {0}
    _, _, _, how, *_ = home.inside("grep ' / ' /proc/mounts").split()
    assert how.startswith("ro,")
    home.inside("mktemp -p /tmp && mktemp -p /srv/ocr && mktemp -p /var/cache/ocrd")


def test_a_scan_becomes_a_sidecar_that_belongs_to_the_owner_of_the_folder(home: Home) -> None:
    home.drop(SAMPLES / "english.pdf", "letter.pdf")
    wait_for(lambda: home.files("archive"))
    assert (home.files("outbox"), home.files("archive"), home.files("error")) == (["letter.md"], ["letter.pdf"], [])
    sidecar = home.ocr / "outbox/letter.md"
    assert (sidecar.stat().st_uid, sidecar.stat().st_gid) == (UID, GID)
    assert "The Keeper of Small Papers" in sidecar.read_text()


def test_killed_at_work_and_started_again_it_delivers_everything_once(home: Home) -> None:
    before = set(home.files("archive"))
    names = [f"{number}.pdf" for number in range(4)]
    for name in names:
        home.drop(SAMPLES / "turned.pdf", name)
    wait_for(lambda: list((home.ocr / ".inbox.ocrd-work").glob("*/pages/*.json")))
    home.kill()
    assert len(set(home.files("archive")) - before) < len(names), "it was not killed at work"
    home.up()
    wait_for(lambda: {*names} <= {*home.files("archive")})
    assert home.files("outbox") == sorted(Path(name).with_suffix(".md").name for name in before | {*names})
    assert (home.files("inbox"), home.files("error")) == ([], [])
