"""What people do: they bring scans, edit, move and delete what came of them, and call commands."""

import shutil
from collections.abc import Callable
from pathlib import Path

from features import paper
from features.world import Document, World
from ocrd.commands import rerun, retry, review, tidy
from ocrd.errors import DocumentError
from ocrd.model import COMPANION

Deed = Callable[[World], None]


def bring_a_scan(world: World) -> None:
    kinds = world.dice.choices("twfp_|", (6, 3, 2, 2, 1, 1), k=world.dice.randint(1, 4))
    pages = [_page(world, kind) for kind in ("t", *kinds)]
    name = world.dice.choice(["a.pdf", "b.pdf", "sub/a.pdf", "c d.pdf"])
    _bring(world, name, paper.scan(f"scan {next(world.number)}", pages))


def bring_images(world: World) -> None:
    watch = world.dice.choice(world.config.watches)
    if watch.join in {"none", "duplex"} or (watch.inbox / "pile").exists():
        return
    for number in range(1, world.dice.randint(2, 4)):
        data = paper.scan(f"image {next(world.number)}", [_page(world, world.dice.choice("tfp"))])
        put(world, watch.inbox / f"pile/side-{number}.png", data)


def bring_fronts_and_backs(world: World) -> None:
    """Bring both sides of a stack, or only one, or the one that lacks."""
    watch = world.dice.choice(world.config.watches)
    if watch.join != "duplex":
        return
    count = world.dice.randint(1, 3)
    for side in world.dice.choice([("front", "back"), ("front", "back"), ("front",), ("back",)]):
        path = watch.inbox / f"stack-{side}.tif"
        if not path.exists():
            pages = [_page(world, world.dice.choice("ttfp_" if side == "back" else "tfp")) for _ in range(count)]
            put(world, path, paper.scan(f"{side}s {next(world.number)}", pages))
        if "shared" not in world.pair:  # where a refused pair has no note for each file, if it is a pair no longer
            count = world.dice.choice([count, count, count + 1])


def bring_two_in_a_row(world: World) -> None:
    watch = world.dice.choice(world.config.watches)
    if watch.join != "duplex" or watch.duplex.pairs != "in_a_row":
        return
    count = world.dice.randint(1, 3)
    for side in ("fronts", "backs"):
        number = next(world.number)
        pages = [_page(world, world.dice.choice("tfp")) for _ in range(count)]
        put(world, watch.inbox / f"row/{number:06}.tif", paper.scan(f"{side} {number}", pages))


def bring_the_same_again(world: World) -> None:
    scans = [data for data in world.dropped if data.startswith(b"scan")]
    if scans and not any(watch.duplex.pairs == "in_a_row" for watch in world.config.watches):  # or both are one scan
        _bring(world, f"again-{next(world.number)}.pdf", world.dice.choice(scans))


def bring_what_is_no_scan(world: World) -> None:
    _bring(world, world.dice.choice(["x.pdf", "sub/x.pdf"]), b"bad %d" % next(world.number))


def wait(world: World) -> None:
    world.work_off()


def reload(world: World) -> None:
    world.work_off_with_a_reload(world.dice.randint(1, 6))


def kill(world: World) -> None:
    world.be_killed(1 + int(world.dice.expovariate(1 / 60)))


def spoil_or_mend_the_engine(world: World) -> None:
    world.mood.fails = not world.mood.fails


def write_into_a_sidecar(world: World) -> None:
    found = [(one, path) for one in world.alive for path in one.files if path.suffix == ".md"]
    if found:
        document, path = world.dice.choice(found)
        note = f"Remark {next(world.number)}."
        document.notes.append(note)
        path.write_bytes(path.read_bytes().rstrip(b"\n") + f"\n\n{note}\n".encode())


def save_as_windows_does(world: World) -> None:
    found = [path for one in world.alive for path in one.files if path.suffix in {".md", ".txt"}]
    if found:
        path = world.dice.choice(found)
        text = path.read_text(encoding="utf-8-sig")
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())


def sort_a_document_away(world: World) -> None:
    if not world.alive:
        return
    document = world.dice.choice(world.alive)
    if world.was_killed and not document.watch.front_matter:
        return  # a rerun that was cut off between two of its files does not find the others
    target = document.watch.outbox / world.dice.choice(["2026", "2027/May"])
    if any((target / path.name).exists() for path in document.files):
        return
    target.mkdir(parents=True, exist_ok=True)
    document.files = [path.rename(target / path.name) for path in document.files]


def sort_an_original_away(world: World) -> None:
    watch = world.dice.choice(world.config.watches)
    found = sorted(path for path in watch.archive.rglob("*.pdf") if path.is_file()) if watch.archive.exists() else []
    piles = sorted(path for path in watch.archive.rglob("pile*") if path.is_dir()) if watch.archive.exists() else []
    stacks = sorted(watch.archive.rglob("*-front.tif")) if watch.archive.exists() else []
    if stacks and world.dice.random() < 1 / 2:
        path = world.dice.choice(stacks)
        target = watch.archive / f"2026/{next(world.number)}"
        target.mkdir(parents=True)
        for one in (path, path.with_name(path.name.replace("-front", "-back"))):
            one.rename(target / one.name)
    elif found or piles:
        path = world.dice.choice(found + piles)
        target = watch.archive / f"2026/{next(world.number)}/{world.dice.choice([path.name, f'x{path.suffix}'])}"
        if path.is_dir() or target.suffix == path.suffix:
            target.parent.mkdir(parents=True)
            path.rename(target)
            companion = path.with_name(f"{path.name}{COMPANION}")
            if companion.exists() and not watch.front_matter:  # else the document tells what it set
                companion.rename(target.with_name(f"{target.name}{COMPANION}"))


def delete_a_document(world: World) -> None:
    if world.alive:
        document = world.dice.choice(world.alive)
        for path in document.files:
            path.unlink()
        document.files, document.notes = [], []


def read_pages_again(world: World) -> None:
    found = [(one, path) for one in _readable(world) for path in one.sidecars]
    if not found:
        return
    document, path = world.dice.choice(found)
    try:
        wish = rerun.of_name(str(path), "all", world.config.watches)
    except DocumentError:
        if document.watch.front_matter:
            raise
        return  # it may have been moved: then nothing tells what it was read from
    pages = sorted(world.dice.sample(wish.pages, world.dice.randint(1, len(wish.pages))))
    ask(world, document, rerun.of_name(str(path), ",".join(map(str, pages)), world.config.watches))
    if world.dice.random() < 0.5:
        world.work_off()


def read_by_the_name_of_the_scan(world: World) -> None:
    found = [one for one in _readable(world) if one.sidecars]
    if not found:
        return
    document = world.dice.choice(found)
    try:
        wish = rerun.of_name(document.source, "all", world.config.watches)
    except DocumentError as error:
        tells_nothing = not document.watch.front_matter  # and may have been moved
        if "can mean several" not in error.what and not tells_nothing:
            raise
        return
    meant = [one for one in world.alive if wish.sidecar in one.files]
    assert meant, f"{wish.sidecar} is taken for a document"
    assert meant[0].source == document.source, f"{document.source} is taken for {meant[0].source}"
    ask(world, meant[0], wish)


def read_all_problems_again(world: World) -> None:
    if not all(outbox.is_dir() for outbox in world.outboxes):
        return  # no daemon has been there yet, so that it may be a share which is not mounted
    refused: list[DocumentError] = []
    for wish in rerun.of_problems(world.config.watches, refused):
        [document] = [one for one in world.alive if wish.sidecar in one.files]
        assert set(wish.pages) <= document.unread, f"{wish.pages} of {wish.sidecar} are no problems"
        ask(world, document, wish)
    assert not refused or any(world.waits_in_an_inbox(one) for one in world.alive), refused
    world.work_off()


def try_refused_ones_again(world: World) -> None:
    for path in retry.bring_back(world.config.watches, None):
        assert any(path.is_relative_to(watch.inbox) for watch in world.config.watches), path
        there = [path] if path.exists() else sorted(path.parent.glob(f"{path.name}*"))
        assert there, f"{path} was not brought back"
        world.brought_back |= {one.read_bytes() for one in there if one.is_file()}


def look_at_a_document(world: World) -> None:
    found = [(one, path) for one in _readable(world) for path in one.sidecars]
    if not found:
        return
    document, path = world.dice.choice(found)
    written = review.write(str(path), world.config, world.root / f"review-{next(world.number)}.html")
    text = written.read_text()
    pages, shown = text.count('<section id="p'), text.count("data:image/webp")
    tells_nothing = not document.watch.front_matter  # and may have been moved: then nobody knows its scan
    assert shown == pages or (tells_nothing and not shown), "a page is not shown"
    assert 0 < pages <= len(document.pages)


def tidy_up(world: World) -> None:
    before = {path: path.read_bytes() for one in world.alive for path in one.files}
    lying = tidy.found(world.config.watches)
    for leftover, path in zip(lying, tidy.move(lying, world.root / "away", world.config.watches), strict=True):
        assert path.is_file(), path
        assert not leftover.path.exists(), leftover
    assert {path: path.read_bytes() for path in before} == before
    assert not tidy.found(world.config.watches)


DEEDS: dict[Deed, int] = {
    bring_a_scan: 6,
    bring_images: 2,
    bring_fronts_and_backs: 3,
    bring_two_in_a_row: 2,
    bring_the_same_again: 2,
    bring_what_is_no_scan: 1,
    wait: 4,
    reload: 2,
    kill: 3,
    spoil_or_mend_the_engine: 2,
    write_into_a_sidecar: 2,
    save_as_windows_does: 1,
    sort_a_document_away: 2,
    sort_an_original_away: 2,
    delete_a_document: 1,
    read_pages_again: 4,
    read_by_the_name_of_the_scan: 2,
    read_all_problems_again: 1,
    try_refused_ones_again: 1,
    look_at_a_document: 1,
    tidy_up: 1,
}
"""How often each is done, for each other."""


NOT_WHILE_DOWN = {spoil_or_mend_the_engine, read_by_the_name_of_the_scan, read_all_problems_again}
"""After a kill, the daemon is started again before: nobody knows yet what is in the outboxes, and how it was read."""


def live(world: World, deeds: int) -> None:
    """Let people do so many things, and look at the end whether all is well."""
    for _ in range(deeds):
        [deed] = world.dice.choices(list(DEEDS), list(DEEDS.values()))
        if deed in NOT_WHILE_DOWN:
            _start_again(world)
        world.deeds.append(deed.__name__)
        deed(world)
    _start_again(world)
    world.deeds.append("the end")
    world.mood.fails = False
    world.work_off()


def _start_again(world: World) -> None:
    if world.was_killed:
        world.deeds.append("start again")
        world.work_off()


def _page(world: World, kind: str) -> str:
    if kind in "_|":
        return kind
    words = [f"q{next(world.number):04}z" for _ in range(world.dice.randint(2, 4))]
    return paper.page(words, fails=kind == "f", picture=kind == "p")


def _bring(world: World, name: str, data: bytes) -> None:
    path = world.dice.choice(world.config.watches).inbox / name
    if path.exists():
        return  # who brings another file under a name that is there overwrites it
    put(world, path, data)
    if "companions" in world.pair and world.dice.random() < 0.5:
        outputs = world.dice.choice(["[json]", "[markdown, text]", "[html, markdown]"])
        put(world, path.with_name(f"{path.name}.ocrd.yaml"), f"outputs: {outputs}  # {next(world.number)}\n".encode())


def put(world: World, path: Path, data: bytes) -> None:
    """Bring a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    world.dropped[data] += 1


def _readable(world: World) -> list[Document]:
    """List the documents whose original lies where it was put away."""
    return [one for one in world.alive if not one.is_copy and not world.waits_in_an_inbox(one)]


def ask(world: World, document: Document, wish: rerun.Wish) -> None:
    """Ask for pages to be read again."""
    world.asked[rerun.ask(wish)] = (document, wish.sidecar, wish.pages)


def forget(world: World) -> None:
    """Delete its folders."""
    shutil.rmtree(world.root, ignore_errors=True)
