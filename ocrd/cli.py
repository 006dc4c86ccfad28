"""The commands, and the only place that ends the process."""

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ocrd import __version__
from ocrd.errors import MachineError, OcrdError, SpoolError
from ocrd.output.split import Separator

if TYPE_CHECKING:  # the commands import what they need: `ocrd --help` must be there at once
    from collections import Counter

    from ocrd.config.schema import Config

app = typer.Typer(
    help="Reads the scans that are dropped into a folder, and writes them out as Markdown.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes take as long to import as all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Write and show the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")
service_app = typer.Typer(help="Run ocrd as a service of systemd.", no_args_is_help=True)
app.add_typer(service_app, name="service")

ConfigFile = Annotated[Path, typer.Option("--config", "-c", readable=False, help="The configuration file.")]
_DEFAULT_CONFIG = Path("ocrd.yaml")


def main() -> NoReturn:
    """Run a command; every error that ocrd knows ends in two sentences and its own exit code."""
    _open_what_is_closed()
    try:
        app()
    except OcrdError as error:
        _end(error)
    except OSError as error:  # a path that was given by hand, or a folder that this user may not look into
        remedy = "Run the command as a user who may look there, or mend what the system complains of."
        _end(MachineError(f"{error.filename or 'The output'}: {error.strerror}.", remedy))
    except Exception as error:
        traceback.print_exc()
        print("ocrd: This is a defect of ocrd.\nPlease report it, with the lines above.", file=sys.stderr)
        raise SystemExit(os.EX_SOFTWARE) from error
    sys.exit(0)


def _open_what_is_closed() -> None:
    """Take /dev/null for a standard stream that is closed: else the next file opened would be printed into."""
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - gets the number that is free, its own
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _end(error: OcrdError) -> NoReturn:
    with suppress(OSError):  # nobody can be told, as where stderr is a full disk
        print(f"ocrd: {error.what}\n{error.remedy}", file=sys.stderr)
    sys.exit(error.exit_code)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's way
    if wanted:
        print(f"ocrd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(config: ConfigFile = _DEFAULT_CONFIG) -> None:
    """Watch the inboxes until stopped: the daemon."""
    from ocrd.config import loader
    from ocrd.telemetry import sd_notify, status_file

    # A terminal that is closed sends the signal that means a reload elsewhere, and would leave us without one.
    reloads = not os.isatty(0)
    if reloads:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # until the daemon answers to it
    manager = sd_notify.Manager.take()
    settings = loader.load(config)
    try:
        place = status_file.place(config)
    except OSError:
        place = None  # a read-only machine without /run and /tmp
    with _all_logged(settings):
        _run_daemon(
            settings,
            manager=manager,
            reread=partial(loader.load, config) if reloads else None,
            status_file=place,
        )


@app.command()
def once(config: ConfigFile = _DEFAULT_CONFIG) -> None:
    """Work off what lies in the inboxes, and end. Exit code 65 if a source was refused, 69 if a hook was not done."""
    from ocrd.config import loader

    settings = loader.load(config)
    if not sys.stderr.isatty():
        with _all_logged(settings):
            ended = _run_once(settings)
    else:
        from ocrd.commands.progress_bars import ProgressBars

        with ProgressBars() as bars:
            _configure_log(settings)
            ended = _run_once(settings, progress=bars)
    if ended is None:
        raise typer.Exit(os.EX_TEMPFAIL)
    if ended["refused"] or ended["not reread"]:
        raise typer.Exit(65)
    if ended["hook failed"] or ended["hook left"]:
        raise typer.Exit(os.EX_UNAVAILABLE)


@app.command()
def convert(  # noqa: PLR0913 - as many wishes as the command line has
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            readable=False,
            help="PDF, TIFF, JPEG, PNG, WebP or HEIC; of a folder, all images are one document, and each PDF is one; "
            "or a glob in quotes, such as 'letters/**/*.pdf'.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", file_okay=False, help="Folder; by default beside each file.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", readable=False, help="Take the engine, and the settings of the watch, from here."
        ),
    ] = None,
    *,
    watch: Annotated[str, typer.Option("--watch", help="Of the configuration's watches this one's settings.")] = "",
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "--outputs",
            "-f",
            metavar="KIND",
            help="What to write, as `outputs` of a watch: markdown, html … Several with commas, or give it again.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        Separator | None,
        typer.Option(
            help="Take a scan of several documents apart, at blank pages or at sheets with the barcode PATCHT.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Read files into Markdown at once. They stay where they are, and no daemon is needed."""
    from ocrd.commands.convert import convert_files, settings_of
    from ocrd.commands.progress_bars import ProgressBars
    from ocrd.config import loader
    from ocrd.output import kinds

    outputs = tuple(dict.fromkeys(name.strip() for one in formats or () for name in one.split(",")))
    for name in outputs:
        if name not in kinds.NAMES:
            raise typer.BadParameter(f"--format can be {', '.join(kinds.NAMES)}, and not {name!r}.")
    settings = loader.load(config) if config else loader.without_watches()
    how = settings_of(settings.watches, watch, outputs=outputs or None, split=split)
    with ProgressBars() as bars:
        _configure_log(settings, level="warning")
        good = convert_files(files, output, settings, bars, how)
    if not good:
        raise typer.Exit(65)


@app.command()
def init(
    config: Annotated[
        Path, typer.Option("--config", "-c", readable=False, help="The configuration file to write.")
    ] = _DEFAULT_CONFIG,
    *,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where inbox, outbox, archive and error are.", show_default=False)
    ] = None,
    inbox: Annotated[
        Path | None, typer.Option("--inbox", help="Where scans are dropped, if that is elsewhere.", show_default=False)
    ] = None,
    outbox: Annotated[
        Path | None, typer.Option("--outbox", help="Where texts are delivered, the same.", show_default=False)
    ] = None,
    gpu: Annotated[
        bool | None, typer.Option("--gpu/--no-gpu", help="Read with a GPU, or with Tesseract.", show_default=False)
    ] = None,
) -> None:
    """Set up a first watch: write a short configuration, make its folders, and check all of it.

    Asks for what is not given. `ocrd config init` only prints a configuration, with every setting.
    """
    from ocrd.commands import initial

    initial.must_be_new(config)
    missing = ["--folder"] * (folder is None) + ["--gpu or --no-gpu"] * (gpu is None)
    if missing and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise typer.BadParameter(f"there is no terminal to ask on; give {' and '.join(missing)}.")
    if folder is None:
        folder = Path(typer.prompt("Folder for inbox, outbox, archive and error", default=initial.usual_folder()))
    if gpu is None:
        gpu = typer.confirm("Read with a GPU?", default=initial.has_card())
    folders = {role: folder / role for role in initial.ROLES}
    folders |= {role: path for role, path in (("inbox", inbox), ("outbox", outbox)) if path}
    if code := initial.run(config, folders, gpu=gpu):
        raise typer.Exit(code)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder for it.")] = Path("demo"),
) -> None:
    """Show the service at work: it reads the scans that come with ocrd, without a GPU."""
    from ocrd.commands import demo as demonstration

    if not demonstration.run(folder):
        raise typer.Exit(1)


@app.command()
def check(config: ConfigFile = _DEFAULT_CONFIG) -> None:
    """Check configuration, folders and engine. Each line is OK, or says what to do."""
    from ocrd.commands import check as checks

    code = checks.run(config)
    if code:
        raise typer.Exit(code)


@app.command()
def status(
    config: ConfigFile = _DEFAULT_CONFIG,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Live, until Ctrl-C.")] = False,
) -> None:
    """Tell how things stand, also while the daemon is down. Exit code 0: all well, 1: have a look, 2: not running."""
    from ocrd.commands import status_view

    if watch and as_json:
        raise typer.BadParameter("--watch draws on a terminal, and --json is for programs: give one of them.")
    if watch:
        status_view.watch(config)
    elif code := status_view.show(config, as_json=as_json):
        raise typer.Exit(code)


@app.command()
def history(  # noqa: PLR0913 - as many wishes as the command line has
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Part of the path of a scan or sidecar, or a glob; empty: all.")
    ] = "",
    *,
    since: Annotated[str, typer.Option("--since", help="A date, 2026-11-01, or how long ago: 7d, 12h.")] = "",
    watch: Annotated[str, typer.Option("--watch", help="Only of this watch.")] = "",
    status: Annotated[
        str, typer.Option("--status", help="Only complete, partial, duplicate, skipped, linked or reread ones.")
    ] = "",
    config: ConfigFile = _DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="A line each.")] = False,
) -> None:
    """Tell what was delivered, skipped and linked, oldest first."""
    from ocrd.commands import history as histories
    from ocrd.config import loader

    watches = histories.of_name(loader.load(config).watches, watch)
    wanted = histories.Wanted(histories.moment(since, histories.now()) if since else None, status, name)
    histories.show(watches, wanted, as_json=as_json)


@app.command()
def review(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="The sidecar in its outbox, with its subfolder: letters/scan")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File or folder; by default NAME.review.html. With --problems: a new folder; by default problems.",
        ),
    ] = None,
    problems: Annotated[  # noqa: FBT002 - typer's options are arguments
        bool, typer.Option("--problems", help="Make an index of all pages that somebody should look at instead.")
    ] = False,
    config: ConfigFile = _DEFAULT_CONFIG,
) -> None:
    """Write an HTML page: a scan beside its text, pages with problems first; or an index of all of those."""
    from ocrd.commands import review as reviews
    from ocrd.config import loader
    from ocrd.display import shown

    if problems == bool(name):
        raise typer.BadParameter("Give the NAME of a document, or --problems.")
    settings = loader.load(config)
    path = reviews.write_problems(settings, output) if problems else reviews.write(name, settings, output)
    print(shown(path) if path else "No document tells of a page to look at.")


@app.command()
def retry(
    names: Annotated[
        list[Path] | None,
        typer.Argument(metavar="NAME", help="Files in the error folders, by path or name.", show_default=False),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that lies in the error folders.")] = False,
    config: ConfigFile = _DEFAULT_CONFIG,
) -> None:
    """Bring refused files back to their inboxes. Whether the daemon runs does not matter."""
    from ocrd.commands.retry import bring_back
    from ocrd.config import loader
    from ocrd.display import shown

    if not names and not everything:
        raise typer.BadParameter("name files that lie in the error folders, or give --all.")
    for path in bring_back(loader.load(config).watches, None if everything else names):
        print(shown(path))


@app.command()
def rerun(  # noqa: PLR0913 - as many wishes as the command line has
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="Scans or their sidecars, with their subfolder: letters/scan.pdf", show_default=False
        ),
    ] = None,
    *,
    pages: Annotated[str, typer.Option("--pages", help="all, problems, or numbers such as 7,12-15,20-.")] = "",
    problems: Annotated[
        bool, typer.Option("--problems", help="As --pages problems; without NAME of all documents.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until they are read, with a progress bar, and count what got better.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before more than 100 pages.")] = False,
    config: ConfigFile = _DEFAULT_CONFIG,
) -> None:
    """Read pages of delivered scans again. The sidecar of before is kept as NAME.md.bak.

    The daemon does it, now or when it is started, or `ocrd once`.
    """
    from ocrd.commands import rerun as reruns
    from ocrd.config import loader

    def sure(count: int) -> None:
        if not yes:
            typer.confirm(f"Read {count} pages again?", abort=True)

    if bool(pages) == problems or not (names or problems):
        raise typer.BadParameter("Give NAME with --pages or --problems, or --problems alone for all documents.")
    watches = loader.load(config).watches
    reruns.run(names or [], pages or "problems", watches, sure, wait_for=config if wait else None)


@app.command()
def tidy(
    folder: Annotated[
        Path | None, typer.Option("--to", file_okay=False, help="Move all of it there; without, it is only shown.")
    ] = None,
    config: ConfigFile = _DEFAULT_CONFIG,
) -> None:
    """Show what lies about: old sidecars that reruns kept (.bak), their pictures, notes without their file."""
    from ocrd.commands import tidy as tidying
    from ocrd.config import loader

    tidying.run(loader.load(config).watches, folder)


@app.command()
def adopt(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The work folder of a daemon that is gone.")],
    *,
    watch: Annotated[str, typer.Option("--watch", help="The watch that goes on with it, if nothing else tells.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Also where nobody can tell whether it is gone.")] = False,
    config: ConfigFile = _DEFAULT_CONFIG,
) -> None:
    """Take over the scans that another daemon had in work when it died. Whether one runs here does not matter."""
    from ocrd.commands import adopt as adopting
    from ocrd.config import loader

    adopting.run(loader.load(config).watches, folder, watch, sure=yes)


@app.command("split-sheet")
def split_sheet(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The PDF to write; it must not be there yet.")],
    text: Annotated[str, typer.Option("--text", help="One of the watch's `separators`.")] = "PATCHT",
) -> None:
    """Make a separator sheet to print. Where `split: barcode` is set, a scan is taken apart at it."""
    from ocrd import display
    from ocrd.rendering import barcodes
    from ocrd.storage import durable

    try:
        durable.write_new(output, barcodes.sheet(text), tag="sheet")
    except FileExistsError as error:
        raise MachineError(f"There is already a file {display.shown(output)}.", "Give another name.") from error
    print(display.shown(output))


@app.command("help")
def help_(topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Empty: the list of topics.")] = "") -> None:
    """Explain settings, exit codes and the journal's fields."""
    from ocrd.commands import help_topics

    print(help_topics.about(topic) if topic else help_topics.contents(), end="")


User = Annotated[bool, typer.Option("--user", help="For your own service manager, without root.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


@service_app.command("install")
def service_install(
    config: ConfigFile = _DEFAULT_CONFIG, *, user: User = False, yes: Yes = False, dry_run: DryRun = False
) -> None:
    """Make ocrd a service with this configuration. Each step is shown before it is done."""
    from ocrd.commands import systemd_install
    from ocrd.config import loader

    settings = loader.load(config)
    place = systemd_install.Place(user)
    plan = systemd_install.install(settings, config, place)
    systemd_install.carry_out(plan, place, dry_run=dry_run, sure=None if yes else _sure)


@service_app.command("uninstall")
def service_uninstall(*, user: User = False, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Undo the installation. Configuration, scans, results and models stay."""
    from ocrd.commands import systemd_install

    place = systemd_install.Place(user)
    systemd_install.carry_out(systemd_install.uninstall(place), place, dry_run=dry_run, sure=None if yes else _sure)


def _sure() -> None:
    typer.confirm("Go on?", abort=True)


@config_app.command("init")
def config_init() -> None:
    """Print a configuration with every setting, its meaning and its default; `ocrd init` writes a short one."""
    from ocrd.config import example

    print(example.example(), end="")


@config_app.command("dashboard")
def config_dashboard() -> None:
    """Print a dashboard for Grafana, of the numbers that `metrics.listen` tells."""
    from ocrd.commands.shipped import shipped

    print(shipped("monitoring/grafana.json"), end="")


@config_app.command("schema")
def config_schema() -> None:
    """Write the JSON schema of the configuration, for editors."""
    import json

    from ocrd.config import example

    print(json.dumps(example.schema(), indent=2))


@config_app.command("show")
def config_show(config: ConfigFile = _DEFAULT_CONFIG) -> None:
    """Show what a configuration means, defaults and what the engine's profile sets included."""
    from ocrd.config import example, loader

    print(example.shown(loader.load(config)), end="")


def _configure_log(settings: "Config", level: str | None = None) -> None:
    from ocrd.telemetry import logs

    logs.configure(level or settings.log.level, settings.log.format)


@contextmanager
def _all_logged(settings: "Config") -> Iterator[None]:
    """Log all that happens inside, what is printed there and how it ends included."""
    import structlog

    from ocrd.telemetry import logs, output_capture

    with output_capture.captured() as terminal:
        logs.configure(settings.log.level, settings.log.format, terminal)
        try:
            yield
        except OcrdError as error:
            structlog.get_logger("ocrd").critical("failed", what=error.what, remedy=error.remedy)
            raise typer.Exit(error.exit_code) from error
        except Exception as error:
            structlog.get_logger("ocrd").critical("failed", what="This is a defect of ocrd.", exc_info=error)
            raise typer.Exit(os.EX_SOFTWARE) from error


def _run_once(settings: "Config", **how: Any) -> "Counter[str] | None":  # noqa: ANN401 - what Daemon takes
    """Work off the inboxes; None where another ocrd has them, to which they are left."""
    import structlog

    try:
        return _run_daemon(settings, once=True, **how)
    except SpoolError as error:
        structlog.get_logger("ocrd").info("nothing to do: another ocrd has these folders", what=error.what)
        return None


def _run_daemon(settings: "Config", **how: Any) -> "Counter[str]":  # noqa: ANN401 - what Daemon takes
    import asyncio

    from ocrd import engines
    from ocrd.concurrency import processes
    from ocrd.daemon.supervisor import Daemon

    processes.keep_little_memory()

    async def life() -> "Counter[str]":
        daemon = Daemon(settings, engines.load(settings.engine), **how)
        await daemon.run()
        return daemon.ended

    return asyncio.run(life())
