"""Measures what vLLM's front end costs the service's own process for each page, without a card.

    python bench/gpu/front_end.py [--pages 512] [--flight 256] [--tokens 800]

The outputs of an EngineCore, one token of each page in a step, go through vLLM's own OutputProcessor and collectors to
as many tasks as pages are in flight; only the EngineCore is left out. By turns, CPU milliseconds a page:

    whole     each report holds the whole text so far (`CUMULATIVE`): vLLM makes one for every token, whatever
              `stream_interval` says
    new       each holds what is new (`DELTA`), every sixteenth token, as ocrd asks for it of a model with stop strings
    ids       the same, and the text is made of the tokens at the end, as ocrd does it of all others
"""
# ruff: noqa: D103 - a script

import argparse
import asyncio
import random
import string
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/vllm")]

from tiny_model import REAL, make  # noqa: E402 - found through the path above

from ocrd.engines.vllm.core import Answer, decoder, whole_text  # noqa: E402
from ocrd.engines.vllm.setup import SIGN_EVERY  # noqa: E402


async def page(queue: Any, tokenizer: Any, way: str) -> str:  # noqa: ANN401 - vLLM's
    text, tokens = "", []
    while True:
        out = queue.get_nowait() or await queue.get()
        text = out.outputs[0].text if way == "whole" else text + out.outputs[0].text
        tokens.extend(out.outputs[0].token_ids)
        if out.finished:
            if way == "ids":
                text = whole_text(decoder(tokenizer), Answer((), tokens=tokens), skip_special_tokens=True)
            return text


async def run(way: str, tokenizer: Any, options: argparse.Namespace) -> float:  # noqa: ANN401 - vLLM's
    """Return the CPU milliseconds of a page."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine import EngineCoreOutput, EngineCoreRequest, FinishReason
    from vllm.v1.engine.output_processor import OutputProcessor, RequestOutputCollector

    dice = random.Random(1)  # noqa: S311 - no secret
    letters = tokenizer.encode(string.ascii_letters, add_special_tokens=False)
    kind = RequestOutputKind.CUMULATIVE if way == "whole" else RequestOutputKind.DELTA
    processor = OutputProcessor(tokenizer, log_stats=False, stream_interval=SIGN_EVERY)
    params = SamplingParams(max_tokens=options.tokens, output_kind=kind, detokenize=way != "ids")
    began = time.process_time()
    for first in range(0, options.pages, options.flight):
        names = [f"page-{number}" for number in range(first, first + options.flight)]
        tasks = []
        for name in names:
            request = EngineCoreRequest(
                name, letters[:1] * 900, None, params, None, 0.0, None, None, None, external_req_id=name
            )
            queue = RequestOutputCollector(kind, name)
            processor.add_request(request, None, queue=queue)
            tasks.append(asyncio.create_task(page(queue, tokenizer, way)))
        for step in range(options.tokens):
            end = FinishReason.LENGTH if step == options.tokens - 1 else None
            outputs = [EngineCoreOutput(name, [dice.choice(letters)], finish_reason=end) for name in names]
            processor.process_outputs(outputs, 0.0, None)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
    return (time.process_time() - began) / options.pages * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=512)
    parser.add_argument("--flight", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=800)
    options = parser.parse_args()
    from vllm.tokenizers import get_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer = get_tokenizer(str(make(Path(folder), REAL)))
    ways: dict[str, list[float]] = {"whole": [], "new": [], "ids": []}
    for _ in range(3):
        for way, found in ways.items():
            found.append(asyncio.run(run(way, tokenizer, options)))
    for way, found in ways.items():
        print(f"{way:6} {median(found):6.2f} ms a page ({min(found):.2f} to {max(found):.2f})")


if __name__ == "__main__":
    main()
