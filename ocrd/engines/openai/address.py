"""The address of a server, taken apart: where to connect, and whom that trusts. Pure, but for looking a name up."""

import ipaddress
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from ocrd.engines.openai.look_up import LookUp

LOOK_UP_SECONDS = 5.0
"""The most that looking a name up may take."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is."""

    url: str
    """The base of its requests, with `/v1` as a rule."""
    host: str
    """Name or number of the host; empty for a socket."""
    socket: str | None = None
    """Path of the Unix socket that it listens at."""

    @property
    def root(self) -> str:
        """Where vLLM tells its version: beside `/v1`, not below it."""
        return self.url.removesuffix("/v1")

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, where there is no certificate and nobody listens in."""
        if self.socket or self.host == "localhost":
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    @property
    def name(self) -> str:
        """The name of its host, which has to be looked up; empty for a number and a socket."""
        host = urlsplit(self.url).hostname or ""
        with suppress(ValueError):
            ipaddress.ip_address(host)
            return ""
        return "" if self.socket else host

    async def is_open_to_the_world(self) -> bool:
        """Whether pages would go unencrypted to a host on the Internet. One that can't be looked up counts as none."""
        if self.is_loopback or self.url.startswith("https:"):
            return False
        with suppress(OSError, TimeoutError, UnicodeError, ValueError):
            found = await LookUp(self.host).addresses(LOOK_UP_SECONDS)
            return any(ipaddress.ip_address(one.partition("%")[0]).is_global for one in found)
        return False


def parse(endpoint: str) -> Address:
    """Take an address apart as the configuration has it: `http://gpu1:8000/v1` or `unix:/run/vllm.sock`."""
    if endpoint.startswith("unix:"):
        return Address("http://localhost/v1", "", endpoint.removeprefix("unix:"))
    return Address(endpoint, urlsplit(endpoint).hostname or "")
