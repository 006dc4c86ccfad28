"""The text of a page is made at its end, and is the one that vLLM makes token by token."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import make

from ocrd.engines.vllm.core import Answer, decoder, whole_text

PROMPT = [5] * 10
TOKENS = st.lists(st.integers(0, 383), max_size=60)
"""All that the tiny model has: bytes, in any order, and special tokens."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from vllm.tokenizers import get_tokenizer

    return get_tokenizer(str(make(tmp_path_factory.mktemp("model"))))


@given(written=st.text(), others=TOKENS, skip=st.booleans(), stopped=st.booleans())
def test_it_is_the_same_of_any_bytes_and_special_tokens(
    tokenizer: Any, *, written: str, others: list[int], skip: bool, stopped: bool
) -> None:
    from vllm import SamplingParams
    from vllm.v1.engine import EngineCoreRequest
    from vllm.v1.engine.detokenizer import FastIncrementalDetokenizer

    tokens = [*tokenizer.encode(written, add_special_tokens=False), *others]
    params = SamplingParams(skip_special_tokens=skip)
    request = EngineCoreRequest("a", PROMPT, None, params, None, 0.0, None, None, None, external_req_id="a")
    upstream = FastIncrementalDetokenizer(tokenizer, request)
    upstream.update(tokens, stopped)
    answer = Answer(PROMPT, tokens=tokens, finish_reason="stop" if stopped else "length")
    text = whole_text(decoder(tokenizer), answer, skip_special_tokens=skip)
    assert text == upstream.get_next_output_text(finished=True, delta=False)


def test_where_tokens_are_no_bytes_vllm_makes_it() -> None:
    """With SentencePiece's, a character that is not ended would take those before it along."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "\u2581a", *(f"<0x{byte:02X}>" for byte in range(256))]
    words = {piece: number for number, piece in enumerate(pieces)}
    bare = Tokenizer(models.BPE(vocab=words, merges=[], byte_fallback=True))
    bare.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    assert decoder(PreTrainedTokenizerFast(tokenizer_object=bare)) is None
    assert decoder(object()) is None
