"""What an owner wants at the end of a document: a program that runs, a URL that is told, or both."""

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from ocrd.config.secret_file import SecretFile
from ocrd.config.units import HiddenValueError, Names, Section


def _web_address(value: str, info: ValidationInfo) -> str:
    """Check a URL. Raises HiddenValueError, since its path, and a password in it, can be secrets."""
    try:
        _check(value, info.data.get("private_hosts", ()))
    except ValueError as error:
        raise HiddenValueError(str(error)) from None
    return value


def _check(value: str, private_hosts: Iterable[str]) -> None:
    parts = urlsplit(value)
    if not (value.isascii() and value.isprintable() and " " not in value and parts.hostname):
        raise ValueError("must be a web address such as https://example.org/scans, in ASCII and without spaces")
    if parts.scheme not in {"https", "http"} or parts.port == 0:
        raise ValueError("must begin with https://, and have a port from 1 to 65535 if it has one")
    if parts.username is not None:
        raise ValueError("must hold no user and no password; secret_file shows the receiver who sends")
    if parts.hostname not in map(str.lower, private_hosts):
        if parts.scheme == "http":
            raise ValueError("must begin with https://; http is for hosts that private_hosts names")
        if not _may_be_public(parts.hostname):
            raise ValueError("leads to this machine or a private network; name its host in private_hosts, too")


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:  # a name
        return host != "localhost"


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet. Raises ValueError if it is none."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or _behind_nat64(ip) or ip
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _behind_nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the address that a translator of an IPv6-only network would go on to (RFC 6052)."""
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None


if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class Hook(Section):
    """What happens at the end of a document. A list instead of this section is the program."""

    program: Names = Field(
        default=(),
        description="A program and its arguments; it finds OCRD_SIDECAR, OCRD_ORIGINAL, OCRD_SOURCE, OCRD_PAGES, "
        "OCRD_STATUS … (of a refused source OCRD_NOTE and OCRD_REASON) in its environment.",
    )
    private_hosts: Names = Field(
        default=(),
        description="Hosts, as `url` spells them, that may lie on this machine or in a private network, and may be "
        "reached by http. All others must have a public address.",
    )
    url: Annotated[str, AfterValidator(_web_address)] | None = Field(
        default=None,
        description="Where the same facts are sent to, as one JSON object, until they are taken (an answer of 2xx) or "
        "`hook_patience` ends. No redirect is followed.",
    )
    secret_file: SecretFile | None = Field(
        default=None,
        description="File with the secret that what is sent to `url` is signed with (HMAC-SHA256, Standard Webhooks). "
        "Nobody but ocrd's user may read it (chmod 600). credential:NAME is a credential that systemd hands over.",
    )

    @model_validator(mode="before")
    @classmethod
    def _program_alone(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        return {"program": value} if isinstance(value, list | tuple) else value

    def __bool__(self) -> bool:
        """Whether anything is wanted."""
        return bool(self.program or self.url)


class _OrProgram:
    """Lets the schema know that a list may stand for the section."""

    def __get_pydantic_json_schema__(self, core: "CoreSchema", handler: "GetJsonSchemaHandler") -> "JsonSchemaValue":
        return {"anyOf": [handler(core), {"type": "array", "items": {"type": "string"}}]}


HookOrProgram = Annotated[Hook, _OrProgram()]
