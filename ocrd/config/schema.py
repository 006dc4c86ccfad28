"""The configuration: frozen models, read from YAML strictly. Every setting's description here is its documentation."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
)

from ocrd.config import profile
from ocrd.config.openai import OpenAiSettings
from ocrd.config.secret_file import SecretFile
from ocrd.config.transformers import TransformersSettings
from ocrd.config.units import Duration, Names, Section, Size, at_least
from ocrd.config.vllm import VllmSettings
from ocrd.config.watch import Folder, Watch


class Cpu(Section):
    """The embedded engine: Tesseract, for a machine without a GPU."""

    languages: Names = Field(
        default=(), description="Languages to read, as Tesseract calls them; empty: all installed ones."
    )
    letters: Literal["tesseract", "rapidocr"] = Field(
        default="tesseract", description="What reads the letters; rapidocr is for Chinese and Japanese."
    )
    workers: int = Field(default=0, ge=0, description="Pages read at the same time; 0: one for each core.")


def _profile(value: str, info: ValidationInfo) -> str:
    if profile.is_path(value):
        base: Path = (info.context or {}).get("base", Path.cwd())
        return str(base / Path(value).expanduser())
    if value not in profile.names():
        raise ValueError(profile.unknown(value))
    return value


ProfileName = Annotated[str, AfterValidator(_profile)]


class Engine(Section):
    """What turns page images into text."""

    kind: str = Field(
        default="vllm",
        pattern=r"^(vllm|openai|transformers|cpu|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$",
        description="vllm (a GPU), openai (servers that run a model), transformers (a GPU or not, where vLLM can't be "
        "installed), cpu (no GPU needed), or package.module:factory for an engine of your own.",
    )
    profile: ProfileName = Field(
        default=profile.DEFAULT,
        description="The model that vllm, transformers or the servers run: "
        f"{', '.join(profile.names())}, where markdown is for any "
        "model that answers in Markdown; or the path of a file of your own that ends in .yaml: `ocrd help profiles`.",
    )
    vllm: VllmSettings = Field(default=VllmSettings(), description=VllmSettings.__doc__)
    openai: OpenAiSettings = Field(default=OpenAiSettings(), description=OpenAiSettings.__doc__)
    transformers: TransformersSettings = Field(default=TransformersSettings(), description=TransformersSettings.__doc__)
    cpu: Cpu = Field(default=Cpu(), description=Cpu.__doc__)
    options: dict[str, Any] = Field(default={}, description="Passed to the factory of an engine of your own.")


class Settle(Section):
    """When a dropped file is taken as complete."""

    quiet: Duration = Field(
        default=3.0, description="Size, time and identity of the file have not changed for this long."
    )
    patience: Duration = Field(
        default=600.0,
        description="A file that looks unfinished, or is held open by a program, is waited for this long since "
        "its last change; `ocrd once` does not wait, and leaves it for the next time.",
    )
    rescan: Annotated[Duration, at_least(0.1, "100ms")] = Field(
        default=60.0,
        description="The inbox is looked through this often, events or not. Where events come and there are more than "
        "100 watches it is less often, in proportion to their number, up to a fifth from 500 on.",
    )
    poll: Annotated[Duration, at_least(0.1, "100ms")] = Field(
        default=5.0, description="The same, where no events can be had: network shares, or a limit of the kernel."
    )


class Batch(Section):
    """When the gathered sources are admitted together; whichever comes first."""

    quiet: Duration = Field(default=2.0, description="No new source for this long.")
    max_wait: Duration = Field(default=10.0, description="The first source has waited this long.")
    max_pages: int = Field(default=512, ge=1, description="This many pages are gathered.")


class Render(Section):
    """The worker processes that turn sources into page images."""

    workers: int = Field(
        default=0,
        ge=0,
        description="How many; 0: one for each core, at most 8, or half of the cores where that is more, at most 32.",
    )
    page_timeout: Annotated[Duration, at_least(0.1, "100ms")] = Field(
        default=60.0,
        description="A page that takes more processor time is given up; a share that stalls is waited for.",
    )
    memory: Annotated[Size, at_least(2**30, "1GiB")] = Field(
        default=2 * 2**30, description="Address space of one worker; more is refused to it."
    )
    images: Annotated[Size, at_least(2**26, "64MiB")] = Field(
        default=2**29, description="Memory for page images on their way to an engine that takes them prepared."
    )

    @property
    def count(self) -> int:
        """How many workers there will be."""
        cores = len(os.sched_getaffinity(0))
        return self.workers or min(cores, max(8, cores // 2), 32)


class Log(Section):
    """The log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level that is shown."
    )
    format: Literal["auto", "console", "json", "journald"] = Field(
        default="auto",
        description="auto: journald under systemd where its module is installed, colours on a terminal, else JSON.",
    )


_LOOPBACK = re.compile(r"|/.+|(127(\.\d{1,3}){3}|localhost|\[::1\]):\d+")


def _listener(value: str) -> str:
    if not re.fullmatch(r"|/.+|(\d{1,3}(\.\d{1,3}){3}|[a-zA-Z0-9][\w.-]*|\[[0-9a-fA-F:]+\]):\d{1,5}", value):
        raise ValueError("must be an address such as 127.0.0.1:9464, the absolute path of a socket, or empty")
    if not value.startswith("/") and value and not 0 < int(value.rpartition(":")[2]) < 2**16:
        raise ValueError("must have a port from 1 to 65535")
    return value


def _known_to_callers(value: Path | None, info: ValidationInfo) -> Path | None:
    listen = info.data.get("listen", "")
    if value is None and not _LOOPBACK.fullmatch(listen):
        raise ValueError(f"must be set, since metrics.listen is {listen}, which other machines reach")
    return value


class Metrics(Section):
    """Numbers for Prometheus at /metrics, /healthz and /readyz beside it, and a page for a browser at /."""

    listen: Annotated[str, AfterValidator(_listener)] = Field(
        default="",
        description="Where: 127.0.0.1:9464, or the path of a Unix socket such as /run/ocrd/metrics.sock; empty: off. "
        "Where other machines reach it, there has to be a token_file.",
    )
    page: bool = Field(
        default=False,
        description="Whether / shows how things stand, with the names of files, but nothing of what stands on them.",
    )
    reviews: Folder | None = Field(
        default=None,
        description="Folder of review pages (`ocrd review --problems -o FOLDER`) that the page links to and serves. "
        "They show the scans.",
    )
    token_file: Annotated[SecretFile | None, AfterValidator(_known_to_callers)] = Field(
        default=None,
        validate_default=True,
        description="File with what each caller has to say: as a bearer token, or as the password of any user. Nobody "
        "but ocrd's user may read it (chmod 600). credential:NAME is a credential that systemd hands over.",
    )


class Service(Section):
    """How long systemd, or whoever stops ocrd, is kept waiting."""

    drain: Duration = Field(
        default=45.0,
        description="At a stop, pages in flight are finished for at most this long; less than the unit's "
        "TimeoutStopSec.",
    )
    silence: Annotated[Duration, at_least(1, "1s")] = Field(
        default=10 * 60.0,
        description="The engine has had pages for this long and answered to none: the heartbeat ends, and systemd "
        "starts ocrd again.",
    )
    loading: Annotated[Duration, at_least(1, "1s")] = Field(
        default=30 * 60.0, description="The engine is given this long to load, at the start and when it is built anew."
    )


class Config(Section):
    """The whole file."""

    engine: Engine = Field(default=Engine(), description=Engine.__doc__)
    settle: Settle = Field(default=Settle(), description=Settle.__doc__)
    batch: Batch = Field(default=Batch(), description=Batch.__doc__)
    render: Render = Field(default=Render(), description=Render.__doc__)
    log: Log = Field(default=Log(), description=Log.__doc__)
    metrics: Metrics = Field(default=Metrics(), description=Metrics.__doc__)
    service: Service = Field(default=Service(), description=Service.__doc__)
    max_attempts: int = Field(
        default=3, ge=1, description="A source whose reading ended in an unexplained death this often is refused."
    )
    watches: Annotated[tuple[Watch, ...], Field(strict=False)] = Field(
        min_length=1, description="The folders; as many as you like."
    )
