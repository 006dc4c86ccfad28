"""What the owner can choose about servers that speak OpenAI's protocol. Needs nothing but pydantic."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ocrd.config.secret_file import SecretFile
from ocrd.config.units import Duration, HiddenValueError, Section, at_least

_ADDRESS = re.compile(
    r"https?://(?P<user>[^/@]*@)?(\[[0-9a-fA-F:.]+\]|[^\s/:?#@\[\]]+)(:\d{1,5})?(/[^\s?#]*)?|unix:/.+"
)

_MOST = 4096
"""Pages at one server."""


def _address(value: str) -> str:
    found = _ADDRESS.fullmatch(value)
    if found and found["user"]:
        raise HiddenValueError("must not hold a name or password; engine.openai.api_key_file takes the key")
    if not found:
        wrong = "must be an address such as http://gpu1:8000/v1, or unix:/path/of/a/socket"
        raise HiddenValueError(wrong) if {"@", "?"} & set(value) else ValueError(wrong)  # which a password can follow
    return value.rstrip("/")


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must name each server once")
    return values


def _concurrency(value: object) -> object:
    if value == "auto" or (type(value) is int and 1 <= value <= _MOST):
        return value
    raise ValueError(f"must be auto, or a whole number from 1 to {_MOST}")


Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...], Field(strict=False), AfterValidator(_each_once)
]


class OpenAiSettings(Section):
    """Servers that run the model of engine.profile and speak OpenAI's protocol, such as `vllm serve`."""

    endpoints: Addresses = Field(
        default=(),
        description="Where they are, such as http://gpu1:8000/v1 or unix:/run/vllm.sock; as many as you like.",
    )
    model: str = Field(default="", description="As the servers call it; empty: the only one that they list.")
    concurrency: Annotated[
        int | Literal["auto"],
        BeforeValidator(_concurrency),
        WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}),
    ] = Field(
        default="auto",
        description="Pages at one server at the same time; auto: grows while it answers well, and shrinks when it is "
        "overloaded.",
    )
    api_key_file: SecretFile | None = Field(
        default=None,
        description="File with the key that the servers ask for. Nobody but ocrd's user may read it (chmod 600). "
        "credential:NAME is a credential that systemd hands over (LoadCredential=NAME:PATH).",
    )
    timeout: Annotated[Duration, at_least(1, "1s")] = Field(
        default=600.0, description="A page that a server has not answered to after this long goes to another one."
    )
