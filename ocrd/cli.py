"""The commands, and the only place that ends the process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ocrd import __version__
from ocrd.errors import OcrdError

if TYPE_CHECKING:  # the commands import what they need: `ocrd --help` must be there at once
    from ocrd.config import Config

app = typer.Typer(
    help="Reads the scans that are dropped into a folder, and writes them out as Markdown.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Write and show the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
_DEFAULT_CONFIG = Path("ocrd.yaml")


def main() -> NoReturn:
    """Run a command; every error that ocrd knows ends in two sentences and its own exit code."""
    try:
        app()
    except OcrdError as error:
        print(f"ocrd: {error.what}\n{error.remedy}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(0)


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
    from ocrd import config as configuration
    from ocrd import service, status

    manager = service.Manager.take()
    settings = configuration.load(config)
    place = status.place(config)
    with _all_logged(settings):
        _run_daemon(
            settings,
            manager=manager,
            reread=lambda: configuration.load(config),
            status_file=place,
        )


@app.command()
def once(config: ConfigFile = _DEFAULT_CONFIG) -> None:
    """Work off what lies in the inboxes, and end. Exit code 65 if a source was refused."""
    from ocrd import config as configuration

    settings = configuration.load(config)
    if not sys.stderr.isatty():
        with _all_logged(settings):
            ended = _run_daemon(settings, once=True)
    else:
        from ocrd.bars import Bars

        with Bars() as bars:
            _configure_log(settings)
            ended = _run_daemon(settings, once=True, progress=bars)
    if ended["refused"]:
        raise typer.Exit(65)


@app.command()
def convert(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="PDF, TIFF, JPEG, PNG, WebP or HEIC files.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; by default beside each file.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take the engine from here.")] = None,
) -> None:
    """Read files into Markdown, without any folders. The files stay where they are."""
    from ocrd import config as configuration
    from ocrd.bars import Bars
    from ocrd.convert import convert_files

    settings = configuration.load(config) if config else configuration.without_watches()
    with Bars() as bars:
        _configure_log(settings, level="warning")
        good = convert_files(files, output, settings, bars)
    if not good:
        raise typer.Exit(65)


@app.command()
def retry(
    names: Annotated[
        list[Path] | None, typer.Argument(metavar="NAME…", help="Files in the error folders.", show_default=False)
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that lies in the error folders.")] = False,
    config: ConfigFile = _DEFAULT_CONFIG,
) -> None:
    """Bring refused files back into their inboxes, to be read again. Whether the daemon runs does not matter."""
    from ocrd import config as configuration
    from ocrd.retry import bring_back

    for path in bring_back(configuration.load(config).watches, None if everything else names or []):
        print(path)


@app.command()
def history(
    *,
    config: ConfigFile = _DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="A line each.")] = False,
) -> None:
    """Tell what was delivered, skipped and linked, oldest first."""
    import json
    from dataclasses import asdict

    from ocrd import config as configuration
    from ocrd.ledger import Ledger

    for watch in configuration.load(config).watches:
        for entry in Ledger(watch.work_folder, watch.outbox).entries():
            if as_json:
                print(json.dumps({"watch": watch.name} | asdict(entry), ensure_ascii=False))
            else:
                print(
                    f"{entry.date}  {watch.name}  {entry.kind:9}  {entry.pages:5} p.  {entry.source} -> {entry.sidecar}"
                )


@app.command()
def check(config: ConfigFile = _DEFAULT_CONFIG) -> None:
    """Check the configuration, the folders and the engine, each line OK or what to do."""
    from ocrd import check as checks

    code = checks.run(config)
    if code:
        raise typer.Exit(code)


@config_app.command("init")
def config_init() -> None:
    """Write a configuration with every setting, its meaning and its default."""
    from ocrd import config as configuration

    print(configuration.example(), end="")


@config_app.command("schema")
def config_schema() -> None:
    """Write the JSON schema of the configuration, for editors."""
    import json

    from ocrd import config as configuration

    print(json.dumps(configuration.schema(), indent=2))


@config_app.command("show")
def config_show(config: ConfigFile = _DEFAULT_CONFIG) -> None:
    """Show the configuration as ocrd understands it, defaults included."""
    from ocrd import config as configuration

    print(configuration.dump(configuration.load(config)), end="")


def _configure_log(settings: "Config", level: str | None = None) -> None:
    from ocrd import logs

    logs.configure(level or settings.log.level, settings.log.format)


@contextmanager
def _all_logged(settings: "Config") -> Iterator[None]:
    """Log all that happens inside, what is printed there and how it ends included."""
    import structlog

    from ocrd import logs

    with logs.captured() as terminal:
        logs.configure(settings.log.level, settings.log.format, terminal)
        try:
            yield
        except OcrdError as error:
            structlog.get_logger("ocrd").critical("failed", what=error.what, remedy=error.remedy)
            raise typer.Exit(error.exit_code) from error
        except Exception as error:
            structlog.get_logger("ocrd").critical("failed", what="This is a defect of ocrd.", exc_info=error)
            raise typer.Exit(os.EX_SOFTWARE) from error


def _run_daemon(settings: "Config", **how: Any) -> Any:  # noqa: ANN401 - what Daemon takes; a Counter
    import asyncio

    from ocrd import engines
    from ocrd.daemon import Daemon

    async def life() -> Any:  # noqa: ANN401
        daemon = Daemon(settings, engines.load(settings.engine), **how)
        await daemon.run()
        return daemon.ended

    return asyncio.run(life())
