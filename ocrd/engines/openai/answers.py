"""What a server sends back, read with suspicion: whatever is not an answer to a page is the server's fault."""

import json
import re
from dataclasses import dataclass
from typing import Any

from ocrd.config.profile import Profile
from ocrd.display import shown
from ocrd.engines import vision_model
from ocrd.engines.openai import requests
from ocrd.engines.openai.faults import ServerFault
from ocrd.engines.openai.requests import Kind, Model
from ocrd.engines.vllm import ngram
from ocrd.model import Approach, PageImage, Reading

FINISHED = {"stop": "stop", "length": "length", "repetition": "repetition"}
"""Why a model stops, as the protocol and vLLM call it, and as a Reading has it."""
_END = re.compile(r"<\|(?:im_end|end_of_text|endoftext|eot_id)\|>\s*\Z")
"""The token by which a model ends, where a server prints it, as llama.cpp's does that prints special tokens."""
MOST_TOKENS = 2**31
"""More than any model takes or says."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said."""

    text: str
    finish_reason: str
    tokens: int
    """Generated; characters where the server doesn't count."""
    token_ids: tuple[int, ...] = ()
    """Where the server tells them."""
    of_vllm: bool = False
    """Whether it has what vLLM alone answers: the tokens, and beside them `stop_reason`, if null."""


def answer(data: bytes) -> Answer:
    """Read the answer to a page. Raises ServerFault for anything else."""
    try:
        raw = json.loads(data)
        choice = raw["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
        told = choice | _of_gateway(choice)
        ids = told.get("token_ids") or ()
        tokens = _count((raw.get("usage") or {}).get("completion_tokens"))
        if not (isinstance(text, str) or text is None) or any(_count(one) is None for one in ids):
            raise TypeError  # noqa: TRY301 - all that is wrong with it is said in one place
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ServerFault(f"it answered what is no answer to a page: {_beginning(data)}") from error
    if not isinstance(reason, str) or reason not in FINISHED:
        raise ServerFault(f"it gave the page up, with the reason {str(reason)[:40]!r}")
    text = (text or "").encode(errors="replace").decode()  # JSON can hold halves of characters, and no file can
    if "stop_reason" not in told:  # vLLM has it, and never prints the token
        text = _END.sub("", text)
    tokens = len(ids) or len(text) if tokens is None else tokens
    return Answer(text, FINISHED[reason], tokens, tuple(ids), of_vllm=bool(ids) and "stop_reason" in told)


def reading(page: PageImage, said: Answer, profile: Profile, approach: Approach, seconds: float) -> Reading:
    """Make what a model said of a page into a reading, in ocrd's own form."""
    asked = requests.bans(profile, approach)
    limits = ngram.Limits(
        asked.get("ngram_size", 1), asked.get("window_size", 100), frozenset(asked.get("whitelist_token_ids", ()))
    )
    text, missed = vision_model.normalised(said.text, profile, approach.prompt or profile.prompt, page.size)
    banned = ngram.bans(said.token_ids, limits)
    return Reading(page.index, text, said.finish_reason, said.tokens, seconds, bans=banned, missed_dialect=missed)


def models(data: bytes) -> tuple[Model, ...]:
    """Read the list of a server's models. Raises ValueError for anything else."""
    try:
        listed = json.loads(data)["data"]
        return tuple(_model(one) for one in listed)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(_beginning(data)) from error


def version(data: bytes) -> str:
    """Read what vLLM answers at `/version`; empty for anything else."""
    try:
        found = json.loads(data)["version"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return found[:40] if isinstance(found, str) and found.isprintable() else ""


def complaint(data: bytes) -> str:
    """Read why a server refused something, in its own words, on one line."""
    try:
        raw: Any = json.loads(data)
        raw = raw.get("error", raw)
        message = raw.get("message") if isinstance(raw, dict) else raw
    except (ValueError, AttributeError, RecursionError):
        message = None
    return shown(" ".join(message.split())[:300]) if isinstance(message, str) else _beginning(data)


def _model(raw: dict[str, Any]) -> Model:
    name, owner = raw["id"], raw.get("owned_by")
    meta = raw.get("meta")
    longest = raw.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)  # llama.cpp has that
    if not (isinstance(name, str) and name.isprintable()):
        raise TypeError(name)
    kind = Kind(owner) if owner in list(Kind) else Kind.OTHER
    return Model(name, kind, _count(longest) or None)


def _of_gateway(choice: dict[str, Any]) -> dict[str, Any]:
    """Return what LiteLLM puts aside of an answer, since OpenAI's protocol does not have it."""
    aside = choice.get("provider_specific_fields")
    return aside if isinstance(aside, dict) and isinstance(aside.get("token_ids"), list) else {}


def _count(number: object) -> int | None:
    """Return how many tokens a server says; None if that can't be."""
    return number if type(number) is int and 0 <= number <= MOST_TOKENS else None


def _beginning(data: bytes) -> str:
    if title := re.search(rb"<title>([^<]+)</title>", data[:2000], re.IGNORECASE):  # a page of a proxy's
        return shown(" ".join(title[1].decode(errors="replace").split())[:80])
    return repr(" ".join(data[:200].decode(errors="replace").split())[:80]) if data else "nothing"
