"""What a server is asked for a page, by the model's profile: the body of a request to `/chat/completions`.

Some servers are asked for what only they know, by parameters of their own, once the prover has found which it is; any
other gets what the protocol has. Those that are known are also asked for no sampling of their own beside ours.

- vLLM (vllm/entrypoints/openai/chat_completion/protocol.py, as of 0.32): the model's special tokens, by which
  DeepSeek-OCR marks blocks; the n-gram processor's settings; the tokens that it generated.
- SGLang (srt/entrypoints/openai/protocol.py, as of 0.5.23): the special tokens. Its n-gram processor is Python code
  that a request brings, and is not asked for.
- llama.cpp (tools/server/README.md, of 2026-11): nothing kept of one page for another. It has no request for special
  tokens.

The image is put into the body piece by piece while that is sent: it is never there as a whole a second time.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ocrd.config.profile import Profile
from ocrd.engines import vision_model
from ocrd.engines.vllm import image_size
from ocrd.markup import dialects
from ocrd.model import Approach, PixelSize

IMAGE = "<image>"
"""Stands for the image in every prompt of ocrd's settings."""
TEMPLATE_TOKENS = 64
"""More than a chat template adds to a prompt."""
PIECE = 3 * 2**16
"""Bytes of an image that are encoded at a time; of threes, so that the pieces join."""
_URL = "data:image/png;base64,"
_OUTSIDE = {"name", "source", "licence", "native_model", "native_class", "runner"}
"""What of a profile no text depends on."""
_HERE = secrets.token_hex(16)
"""Where the image belongs, in the body without it; no prompt holds this."""


class Kind(StrEnum):
    """Of a server, as its list of models calls who owns them."""

    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMA = "llamacpp"
    OTHER = ""


@dataclass(frozen=True, slots=True)
class Model:
    """What a server runs."""

    name: str
    """As it calls it."""
    kind: Kind = Kind.OTHER
    """Of the server."""
    longest: int | None = None
    """Most tokens of a request, answer included, where it says that."""

    @property
    def is_vllm(self) -> bool:
        """Whether it is vLLM's, perhaps behind a gateway."""
        return self.kind is Kind.VLLM


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request, without the image."""

    head: bytes
    tail: bytes

    def length(self, image: int) -> int:
        """Return its bytes with an image of so many."""
        return len(self.head) + 4 * -(-image // 3) + len(self.tail)

    def pieces(self, image: memoryview) -> Iterator[bytes]:
        """Yield it with the image, which is a PNG."""
        yield self.head
        for begin in range(0, len(image), PIECE):
            yield base64.b64encode(image[begin : begin + PIECE])
        yield self.tail


def body(model: Model, profile: Profile, size: PixelSize, approach: Approach, max_tokens: int | None = None) -> Body:
    """Make the body of the request for a page image of this size."""
    prompt = approach.prompt or profile.prompt
    asked: dict[str, Any] = {
        "model": model.name,
        "messages": [{"role": "user", "content": _parts(prompt, profile, is_vllm=model.is_vllm)}],
        "max_tokens": min(max_tokens or profile.max_tokens, _room(model, profile, size, prompt)),
        "temperature": profile.temperature if approach.temperature is None else approach.temperature,
        "top_p": profile.top_p,
    }
    if profile.stop:
        asked["stop"] = list(profile.stop)
    match model.kind:  # that there is no top_k and so on has to be said, where the model's own settings say otherwise
        case Kind.VLLM:
            asked |= _tokens(profile, prompt) | {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
            if banned := bans(profile, approach):
                asked |= {"vllm_xargs": banned, "return_token_ids": True}
        case Kind.SGLANG:
            asked |= _tokens(profile, prompt) | {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
        case Kind.LLAMA:
            asked |= {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, "cache_prompt": False}
    if model.kind is not Kind.OTHER and profile.chat and profile.chat_options:
        asked["chat_template_kwargs"] = profile.chat_options
    head, tail = json.dumps(asked, ensure_ascii=False).split(_HERE)
    return Body(head.encode(), tail.encode())


def bans(profile: Profile, approach: Approach) -> dict[str, Any]:
    """Say what the n-gram processor is asked for; nothing where no repetition is banned."""
    ngram_size = profile.ngram_size if approach.ngram_size is None else approach.ngram_size
    if not ngram_size:
        return {}
    asked: dict[str, Any] = {"ngram_size": ngram_size}
    window_size = profile.window_size if approach.window_size is None else approach.window_size
    if window_size:
        asked["window_size"] = window_size
    if profile.whitelist_token_ids:
        asked["whitelist_token_ids"] = list(profile.whitelist_token_ids)
    return asked


def fingerprint(model: str, profile: Profile) -> str:
    """Return a digest of all on our side that could change the text of a page; a server's version is not among it."""
    parts = {"model": model, "profile": profile.model_dump(mode="json", exclude=_OUTSIDE)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _parts(prompt: str, profile: Profile, *, is_vllm: bool) -> list[dict[str, Any]]:
    """Take a prompt apart into the pieces of a message: the image, and the texts before and after it.

    A model without a chat template gets its prompt to the letter: vLLM puts nothing between what stands in one text,
    and finds the image by its token there.
    """
    image = {"type": "image_url", "image_url": {"url": _URL + _HERE}}
    if not profile.chat and is_vllm:
        return [image, {"type": "text", "text": prompt.replace(IMAGE, profile.image_token, 1)}]
    before, _, after = prompt.partition(IMAGE)
    texts = [[{"type": "text", "text": text}] if text else [] for text in (before, after.removeprefix("\n"))]
    return [*texts[0], image, *texts[1]]


def _room(model: Model, profile: Profile, size: PixelSize, prompt: str) -> int:
    """Return how many tokens an answer may have; vLLM refuses a request for more than fit beside the prompt."""
    taken = image_size.tokens(size, profile.image) + len(prompt.encode()) + TEMPLATE_TOKENS
    return max(1, (model.longest or profile.max_model_len) - taken)


def _tokens(profile: Profile, prompt: str) -> dict[str, Any]:
    dialect = dialects.DIALECTS[vision_model.dialect(profile, prompt)]
    return {"skip_special_tokens": not dialect.special_tokens}
