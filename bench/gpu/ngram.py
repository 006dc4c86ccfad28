"""The cost of the n-gram processors, upstream's and ours: `.venv-vllm/bin/python bench/gpu/ngram.py [--json FILE]`.

One step of a batch is one `apply()` for all of its rows, each grown by a token; what is printed is its time over the
number of rows: microseconds per token. The runs of both take turns in one process. Where there is a GPU the logits lie
on it, and a step ends when the card is done.

With `--v2` (a GPU only): the processor of model runner V2 on V2's own tensors, its bans compared with upstream's, and
its time for each step of the whole batch: on the card, and of the thread that launches it.
"""

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import vllm
from vllm import SamplingParams
from vllm.model_executor.models.deepseek_ocr import NGramPerReqLogitsProcessor
from vllm.v1.sample.logits_processor import BatchUpdate

from ocrd.engines.vllm.ngram import NGramProcessor

VOCABULARY = 129_280
"""Tokens that the published model knows."""

TD, END_TD = 128_821, 128_822

RECIPE = {"ngram_size": 30, "window_size": 90, "whitelist_token_ids": [TD, END_TD]}

CHANCE = random.Random(0)  # noqa: S311 - the same texts in every run
WORDS = [CHANCE.randrange(VOCABULARY) for _ in range(3000)]
PROSE = CHANCE.choices(WORDS, [1 / rank for rank in range(1, len(WORDS) + 1)], k=100_003)

TEXTS: dict[str, Callable[[int], int]] = {
    "prose": lambda place: PROSE[place % len(PROSE)],
    "table": lambda place: (TD, PROSE[place % len(PROSE)], END_TD)[place % 3],
    "loop of 45": lambda place: WORDS[place % 45],
    "empty cells": lambda place: (TD, END_TD)[place % 2],
}
"""The token at a place of the output, for each kind of text."""


def run(kind: Any, text: str, rows: int, steps: int, device: torch.device) -> float:  # noqa: ANN401 - either's class
    """Time a batch from 200 tokens on; return the microseconds per token."""
    starts = [row * 1009 for row in range(rows)]
    outputs = [[TEXTS[text](start + place) for place in range(200)] for start in starts]
    params = SamplingParams(extra_args=RECIPE)
    processor = kind(None, device, device.type == "cuda")
    processor.update_state(
        BatchUpdate(rows, [], [(row, params, None, output) for row, output in enumerate(outputs)], [])
    )
    logits = torch.zeros(rows, VOCABULARY, device=device)
    processor.apply(logits)
    spent = 0.0
    for step in range(steps):
        for start, output in zip(starts, outputs, strict=True):
            output.append(TEXTS[text](start + 200 + step))
        _wait(device)
        begun = time.perf_counter()
        processor.apply(logits)
        _wait(device)
        spent += time.perf_counter() - begun
    return spent / steps / rows * 1e6


def v2(rows: int, repeats: int) -> list[str]:
    """Compare the bans of runner V2's processor with upstream's, and time a step, for several sizes and windows.

    Returns a line for each. Also runs within a worker of vLLM's.
    """
    import numpy as np
    from vllm.model_executor.models.deepseek_ocr import NoRepeatNGramLogitsProcessor
    from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcRequestState
    from vllm.v1.worker.gpu.states import RequestState

    from ocrd.engines.vllm.ngram import NGramProcessorV2

    told = []
    device = torch.device("cuda")
    mapping = np.array(CHANCE.sample(range(rows), rows), dtype=np.int32)
    ctx = SimpleNamespace(expanded_idx_mapping=torch.from_numpy(mapping).to(device), idx_mapping_np=mapping)
    asked = [(30, 90), (20, 400), (35, 128), (64, 1024), (2, 16), (1, 90)]
    for mix in (*([one] for one in asked), asked):
        states = RequestState(rows, 8192, 16384, 0, VOCABULARY, device)
        processor = NGramProcessorV2(
            SimpleNamespace(speculative_config=None), LogitsProcRequestState.from_request_state(states)
        )
        expected = torch.zeros(rows, VOCABULARY)
        for number in range(rows):
            size, window = mix[number % len(mix)]
            text = TEXTS[CHANCE.choice(list(TEXTS))] if number % 3 else lambda place, n=number: 7 + place % (n % 90 + 1)
            output = [text(number * 1009 + place) for place in range(CHANCE.randint(1, 1500))]
            arguments = {"ngram_size": size, "window_size": window, "whitelist_token_ids": [TD, END_TD]}
            states.add_request(f"{number}", 903, [*range(903), *output], 0, 1)
            slot = states.req_id_to_index[f"{number}"]
            processor.add_request(slot, SamplingParams(extra_args=arguments))
            (row,) = (mapping == slot).nonzero()[0]
            NoRepeatNGramLogitsProcessor(size, window, {TD, END_TD})(output, expected[row])
        states.apply_staged_writes()
        processor.apply_staged_writes()
        logits = processor.apply(torch.zeros(rows, VOCABULARY, device=device), ctx)
        same = torch.equal(logits.cpu(), expected)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        _wait(device)
        begin.record()
        began = time.perf_counter()
        for _ in range(repeats):
            processor.apply(logits, ctx)
        launched = time.perf_counter() - began
        end.record()
        _wait(device)
        told.append(
            f"v2, {rows} rows, {mix}: {'the same bans as upstream' if same else 'OTHER BANS THAN UPSTREAM'} "
            f"({int(expected.isinf().sum())}), {begin.elapsed_time(end) / repeats * 1000:.0f} µs a step on the card, "
            f"{launched / repeats * 1e6:.0f} µs to launch"
        )
        print(told[-1], flush=True)
    return told


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=256, help="sequences in the batch")
    parser.add_argument("--steps", type=int, default=20, help="tokens of each sequence and run")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", help="write the figures here")
    parser.add_argument("--v2", action="store_true", help="the processor of model runner V2, on a GPU")
    asked = parser.parse_args()
    if asked.v2:
        v2(asked.rows, 200)
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = f"{_processor()}, {torch.cuda.get_device_name() if device.type == 'cuda' else 'no GPU'}"
    print(f"{machine}; Python {platform.python_version()}, torch {torch.__version__}, vLLM {vllm.__version__}")
    print(f"{asked.rows} rows, 30/90, {asked.runs} runs of {asked.steps} steps; µs per token, median (lowest-highest)")
    figures: dict[str, Any] = {"machine": machine, "vllm": vllm.__version__, **vars(asked), "texts": {}}
    print(f"{'text':12} {'upstream':>24} {'ours':>24} {'ratio':>6}")
    for text in TEXTS:
        times: dict[Any, list[float]] = {NGramPerReqLogitsProcessor: [], NGramProcessor: []}
        for _ in range(asked.runs):
            for kind, taken in times.items():
                taken.append(run(kind, text, asked.rows, asked.steps, device))
        theirs, ours = (statistics.median(taken) for taken in times.values())
        cells = (f"{statistics.median(one):.2f} ({min(one):.2f}-{max(one):.2f})" for one in times.values())
        print(f"{text:12} {next(cells):>24} {next(cells):>24} {theirs / ours:5.0f}x", flush=True)
        figures["texts"][text] = {kind.__name__: taken for kind, taken in times.items()}
    if asked.json:
        with open(asked.json, "w") as file:
            json.dump(figures, file, indent=1)


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown CPU")


if __name__ == "__main__":
    main()
