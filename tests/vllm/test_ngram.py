"""The n-gram processors against upstream's, mask for mask, on vLLM's own batch interface."""

import random
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ocrd.engines.vllm import ngram

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # vLLM's own imports warn
    from vllm import SamplingParams
    from vllm.model_executor.models.deepseek_ocr import NGramPerReqLogitsProcessor, NoRepeatNGramLogitsProcessor
    from vllm.v1.sample.logits_processor import BatchUpdateBuilder, MoveDirectionality, _load_custom_logitsprocs

try:
    from vllm.v1.worker.gpu.sample.logits_processor.loader import _load_v2_logitsprocs
except ImportError:
    _load_v2_logitsprocs = None

with_v2 = pytest.mark.skipif(_load_v2_logitsprocs is None, reason="this vLLM's runner V2 takes no processors")
PROCESSORS = ["NGramProcessor", pytest.param("NGramProcessorV2", marks=with_v2)]

CPU = torch.device("cpu")
VOCABULARY = 12
RECIPE = {"ngram_size": 30, "window_size": 90, "whitelist_token_ids": [10, 11]}


class Request:
    def __init__(self, chance: random.Random, arguments: dict[str, Any] | None) -> None:
        self.params = SamplingParams(extra_args=arguments)
        self.prompt: list[int] = []
        self.output: list[int] = []
        self.alphabet = chance.sample(range(VOCABULARY), chance.randint(1, 5))
        self.period = chance.randint(1, 40)

    def grow(self, chance: random.Random, mischief: float) -> None:
        """A token as a model would give it, often one that came before; now and then what only vLLM does."""
        if chance.random() >= mischief:
            self._more(chance)
            return
        match chance.randrange(6):
            case 0:
                pass  # no token in this step
            case 1 | 2:
                del self.output[-chance.choice([1, 2, 40, 1000]) :]
            case 3:
                for _ in range(chance.randint(2, 100)):
                    self._more(chance)
            case 4:
                lost = min(len(self.output), chance.randint(1, 3))
                del self.output[len(self.output) - lost :]
                for _ in range(chance.randint(0, lost)):
                    self._more(chance)
            case 5:
                self.output[-1:] = [-1] if chance.random() < 0.5 else [chance.choice(self.alphabet)]
                for _ in range(chance.randint(0, 1)):
                    self._more(chance)

    def _more(self, chance: random.Random) -> None:
        repeat = len(self.output) >= self.period and chance.random() < 0.97
        self.output.append(self.output[-self.period] if repeat else chance.choice(self.alphabet))


def arguments(chance: random.Random, largest: int = 6, farthest: int = 14) -> dict[str, Any] | None:
    kind = chance.random()
    if kind < 0.1:
        return None
    if kind < 0.2:
        return {"window_size": 7}
    if kind < 0.4:
        return RECIPE
    chosen: dict[str, Any] = {"ngram_size": chance.randint(1, largest)}
    if chance.random() < 0.8:
        chosen["window_size"] = chance.randint(1, farthest)
    if chance.random() < 0.7:
        whitelist = chance.sample(range(VOCABULARY), chance.randint(0, 4))
        chosen["whitelist_token_ids"] = chance.choice([whitelist, set(whitelist), tuple(whitelist), None])
    return chosen


class Batch:
    """vLLM's running batch (vllm/v1/worker/gpu_input_batch.py), which requests enter, leave and move in."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.changes = BatchUpdateBuilder()

    def change(self, chance: random.Random) -> Any:
        if chance.random() < 0.1:
            for row in chance.sample(range(len(self.rows)), chance.randint(0, len(self.rows))):
                self.rows[row] = None
                self.changes.removed_append(row)
        if sum(map(bool, self.rows)) < 6 and chance.random() < 0.3:
            for _ in range(chance.randint(1, 2)):
                self._add(Request(chance, arguments(chance)), chance)
        self._close_gaps()
        if len(self.rows) > 1 and chance.random() < 0.2:
            one, other = chance.sample(range(len(self.rows)), 2)
            self.rows[one], self.rows[other] = self.rows[other], self.rows[one]
            self.changes.moved.append((one, other, MoveDirectionality.SWAP))
        return self.changes.get_and_reset(len(self.rows))

    def _add(self, request: Request, chance: random.Random) -> None:
        for _ in range(chance.choice([0, 0, 1, 50, 150])):  # some come back from preemption
            request.grow(chance, 0)
        row = self.changes.pop_removed()
        if row is None:
            row = len(self.rows)
            self.rows.append(None)
        self.rows[row] = request
        self.changes.added.append((row, request.params, [1, 2], request.output))

    def _close_gaps(self) -> None:
        while None in self.rows:
            last = self.rows.pop()
            if last is None:
                continue
            row = self.changes.pop_removed()
            assert row is not None
            self.rows[row] = last
            self.changes.moved.append((len(self.rows), row, MoveDirectionality.UNIDIRECTIONAL))


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chance, not secrecy


def compare(chance: random.Random, ours: type, steps: int = 150, mischief: float = 0.1) -> int:
    """Run both processors over one batch's life; count the bans."""
    batch, bans = Batch(), 0
    both = [kind(None, CPU, False) for kind in (NGramPerReqLogitsProcessor, ours)]
    for _ in range(steps):
        update = batch.change(chance)
        for request in batch.rows:
            request.grow(chance, mischief)
        plain = torch.rand(len(batch.rows), VOCABULARY)
        masks = []
        for processor in both:
            processor.update_state(update)
            logits = plain.clone()
            masks.append(processor.apply(logits))
            assert masks[-1] is logits
        assert torch.equal(*masks), [(one.params.extra_args, one.output[-100:]) for one in batch.rows]
        bans += int(masks[0].isinf().sum())
    return bans


@settings(max_examples=150, deadline=None)
@given(st.integers(0), st.sampled_from([0.0, 0.03, 0.3]))
def test_the_masks_are_upstreams(seed: int, mischief: float) -> None:
    compare(seeded(seed), ngram.NGramProcessor, mischief=mischief)


@settings(max_examples=500, deadline=None)
@given(
    tokens=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    size=st.integers(1, 5),
    window=st.integers(1, 9),
    whitelist=st.sets(st.integers(0, 3), max_size=2),
)
def test_the_bans_of_one_request_are_upstreams(tokens: list[int], size: int, window: int, whitelist: set[int]) -> None:
    upstream = NoRepeatNGramLogitsProcessor(size, window, whitelist)
    output: list[int] = []
    outputs = ngram.Outputs(ngram.Limits(size, window, frozenset(whitelist)))
    outputs.arrange({7: output})
    for token in tokens:
        output.append(token)
        rows, tokens = outputs.advance()
        assert set(rows) <= {7}
        assert set(tokens) == banned(upstream(output, torch.zeros(4)))


def banned(mask: torch.Tensor) -> set[int]:
    return set(mask.isinf().nonzero().flatten().tolist())


def test_there_is_something_to_ban() -> None:
    bans = [compare(seeded(seed), ngram.NGramProcessor) for seed in range(10)]
    assert sum(bans) > 1000


@pytest.mark.parametrize("period", range(1, 64))
def test_a_page_that_loops(period: int) -> None:
    """A model stuck in a loop, at the real sizes: the last repetition in and the first out of the window."""
    output: list[int] = []
    upstream = NoRepeatNGramLogitsProcessor(30, 90, {10, 11})
    outputs = ngram.Outputs(ngram.Limits(30, 90, frozenset({10, 11})))
    outputs.arrange({0: output})
    for number in range(400):
        output.append(10 + number % period)
        assert set(outputs.advance()[1]) == banned(upstream(output, torch.zeros(100)))


MUTATIONS = {
    "the window is one too short": ("asked.window_size - self._reach)", "asked.window_size - self._reach - 1)"),
    "the window is one too long": ("asked.window_size - self._reach)", "asked.window_size - self._reach + 1)"),
    "the n-gram is one too short": ("self._agree >= self._reach", "self._agree >= self._reach - 1"),
    "the n-gram is one too long": ("self._agree >= self._reach", "self._agree > self._reach"),
    "a count goes on past a difference": ("(past == newest) & (past != BLANK)", "past != BLANK"),
    "blanks agree": ("(past == newest) & (past != BLANK)", "past == newest"),
    "the whitelist is forgotten": ("~np.isin(tokens, self._allowed)", "tokens >= -1"),
    "lengths are not compared": ("length != seen[place] + 1 or ", ""),
    "what was seen is not compared": ("output[-2] != last[place]", "False"),
    "too little is read anew": ("output[-self._asked.window_size : -1]", "output[-self._asked.window_size + 1 : -1]"),
    "the last token is read twice": (" : -1]", " :]"),
    "counts don't move with their output": (
        "np.zeros((1, distances), dtype=np.int32)))[places]",
        "np.zeros((len(places), distances), dtype=np.int32)))[: len(places)]",
    ),
    "a single token is an n-gram": ("if self._reach else 0", ""),
    "bans go to the next row": ("[self._rows[place] for", "[self._rows[place - 1] for"),
    "the second limits are forgotten": ("rows += more_rows", "rows = more_rows"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_is_found(name: str) -> None:
    source = Path(ngram.__file__).read_text()
    right, wrong = MUTATIONS[name]
    assert right in source
    mutant = ModuleType("mutant")
    exec(compile(source.replace(right, wrong), "mutant", "exec"), vars(mutant))  # noqa: S102 - our own source
    with pytest.raises((AssertionError, IndexError, RuntimeError)):
        for seed in range(40):
            compare(seeded(seed), mutant.Batch)


ASKED: list[Any] = [
    None,
    {"other": 1},
    {"ngram_size": None, "window_size": -1},
    RECIPE,
    {"ngram_size": True},
    {"ngram_size": 0},
    {"ngram_size": -3},
    {"ngram_size": 30.0},
    {"ngram_size": "30"},
    {"ngram_size": 30, "window_size": 0},
    {"ngram_size": 30, "window_size": None},
    {"ngram_size": 30, "window_size": "90"},
    {"ngram_size": 30, "window_size": 7},
    {"ngram_size": 30, "whitelist_token_ids": None},
    {"ngram_size": 30, "whitelist_token_ids": []},
    {"ngram_size": 30, "whitelist_token_ids": 5},
    {"ngram_size": 30, "whitelist_token_ids": "td"},
    {"ngram_size": 30, "whitelist_token_ids": [1.5, "1"]},
]


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("asked", ASKED)
def test_what_upstream_refuses_is_refused(asked: Any, name: str) -> None:
    def refused(processor: Any) -> str | None:
        try:
            processor.validate_params(SamplingParams(extra_args=asked))
        except ValueError as error:
            return str(error).split()[0]  # the setting's name
        return None

    assert refused(getattr(ngram, name)) == refused(NGramPerReqLogitsProcessor)


@pytest.mark.parametrize("asked", [{"ngram_size": 30}, {"ngram_size": 3, "whitelist_token_ids": [5, 7.0, "9", 5]}])
def test_what_is_asked_is_read_as_upstream_reads_it(asked: Any) -> None:
    params = SamplingParams(extra_args=asked)
    theirs = NGramPerReqLogitsProcessor(None, CPU, is_pin_memory=False).new_req_logits_processor(params)
    ours = ngram.limits(params)
    assert ours == (theirs.ngram_size, theirs.window_size, theirs.whitelist_token_ids)
    assert set(ours.allowed) == theirs.whitelist_token_ids - {"9"}


def test_two_cases_are_kinder_than_upstream() -> None:
    assert ngram.limits(SamplingParams(extra_args={})) is None
    with pytest.raises(ValueError, match="whitelist_token_ids"):
        ngram.limits(SamplingParams(extra_args={"ngram_size": 3, "whitelist_token_ids": [[1]]}))


def test_vllm_loads_it_by_name() -> None:
    assert _load_custom_logitsprocs(["ocrd.engines.vllm.ngram:NGramProcessor"]) == [ngram.NGramProcessor]
    assert ngram.NGramProcessor(None, CPU, is_pin_memory=False).is_argmax_invariant() is False
    with pytest.raises(AttributeError, match="has no attribute 'Other'"):
        ngram.Other  # noqa: B018 - the look is the test


@with_v2
def test_vllm_loads_that_of_runner_v2_by_name() -> None:
    assert _load_v2_logitsprocs(["ocrd.engines.vllm.ngram:NGramProcessorV2"]) == [ngram.NGramProcessorV2]


def test_the_module_needs_no_vllm() -> None:
    command = "import sys, ocrd.engines.vllm.ngram; assert not {'vllm', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True)


class RunnerStates:
    """Runner V2's tokens (vllm/v1/worker/gpu/states.py), in slots that keep their place while the batch is shuffled."""

    vocab_size, device = VOCABULARY, CPU

    def __init__(self, count: int, longest: int = 2000) -> None:
        self.max_num_reqs = count
        self._buffers = [SimpleNamespace(gpu=torch.zeros(count, dtype=torch.int32)) for _ in range(2)]
        self.prompt_len, self.total_len = self._buffers
        left = torch.randint(0, VOCABULARY, (count, longest), dtype=torch.int32)  # by earlier requests
        self.all_token_ids = SimpleNamespace(gpu=left)

    def write(self, slot: int, prompt: list[int], output: list[int]) -> None:
        self.prompt_len.gpu[slot] = len(prompt)
        self.total_len.gpu[slot] = len(prompt) + len(output)
        self.all_token_ids.gpu[slot, : len(prompt) + len(output)] = torch.tensor([*prompt, *output], dtype=torch.int32)


class RunnerV2:
    """What V2's model runner does with requests: they enter a slot, are preempted, resumed in another, and end."""

    def __init__(self, chance: random.Random, count: int = 8, sizes: tuple[int, int] = (6, 14)) -> None:
        self.chance, self.sizes = chance, sizes
        self.states = RunnerStates(count)
        self.ours = ngram.NGramProcessorV2(SimpleNamespace(speculative_config=None), self.states)
        self.upstream = NGramPerReqLogitsProcessor(None, CPU, is_pin_memory=False)
        self.slots: dict[int, Request] = {}
        self.waiting: list[Request] = []
        self.bans = 0

    def step(self) -> None:
        for slot in range(self.states.max_num_reqs):
            if slot in self.slots and self.chance.random() < 0.04:  # it ends, or is preempted and comes back
                gone = self.slots.pop(slot)
                self.waiting += [gone] * self.chance.randint(0, 1)
            if slot not in self.slots and self.chance.random() < 0.3:
                self._enter(slot)
        self.ours.apply_staged_writes()
        rows = self.chance.sample(sorted(self.slots), self.chance.randint(0, len(self.slots)))
        self._compare(rows)
        for slot in rows:
            request = self.slots[slot]
            request._more(self.chance)
            self.states.write(slot, request.prompt, request.output)

    def _enter(self, slot: int) -> None:
        if self.waiting and self.chance.random() < 0.5:
            request = self.waiting.pop()
        else:
            request = Request(self.chance, arguments(self.chance, *self.sizes))
            request.prompt = [self.chance.randrange(VOCABULARY) for _ in range(self.chance.randint(1, 60))]
            if self.chance.random() < 0.5:  # a prompt that the output goes on with: it must not count
                request.prompt = request.prompt[:1] * 40
                request.alphabet = request.prompt[:1]
        self.slots[slot] = request
        self.states.write(slot, request.prompt, request.output)
        wanted = self.ours.add_request(slot, request.params)
        asked = ngram.limits(request.params)
        assert wanted == (asked is not None and 1 < asked.ngram_size <= min(asked.window_size, 2000))

    def _compare(self, rows: list[int]) -> None:
        plain = torch.rand(len(rows), VOCABULARY)
        theirs = plain.clone()
        for row, slot in enumerate(rows):
            if processor := self.upstream.new_req_logits_processor(self.slots[slot].params):
                processor(self.slots[slot].output, theirs[row])
        mapping = np.array(rows, dtype=np.int32)
        ctx = SimpleNamespace(expanded_idx_mapping=torch.from_numpy(mapping), idx_mapping_np=mapping)
        logits = plain.clone()
        assert self.ours.apply(logits, ctx) is logits
        assert torch.equal(logits, theirs), [
            (self.slots[slot].params.extra_args, self.slots[slot].output) for slot in rows
        ]
        self.bans += int(theirs.isinf().sum())


@with_v2
@settings(max_examples=60, deadline=None)
@given(st.integers(0))
def test_the_masks_are_upstreams_on_runner_v2(seed: int) -> None:
    runner = RunnerV2(seeded(seed))
    for _ in range(60):
        runner.step()


@with_v2
@settings(max_examples=15, deadline=None)
@given(st.integers(0))
def test_large_sizes_and_windows_are_upstreams_on_runner_v2(seed: int) -> None:
    runner = RunnerV2(seeded(seed), count=4, sizes=(64, 1024))
    for _ in range(300):
        runner.step()


MUTATIONS_OF_V2 = {
    "the window begins one too late": ("end - asked[:, 1:ALLOWED]", "end - asked[:, 1:ALLOWED] + 1"),
    "the window begins one too early": ("end - asked[:, 1:ALLOWED]", "end - asked[:, 1:ALLOWED] - 1"),
    "the prompt counts": ("torch.maximum(begin, end - asked[:, 1:ALLOWED])", "end - asked[:, 1:ALLOWED]"),
    "too few tokens are looked at": ("count = reach + int((windows - sizes).max())", "count = windows.max() - 1"),
    "the n-gram is one too short": ("(asked.ngram_size - 1, window)", "(asked.ngram_size - 2, window)"),
    "shorter n-grams of other rows are forgotten": ("| too_far[:, None]", ""),
    "the whitelist is forgotten": ("same & whole & ~allowed", "same & whole"),
    "runs may begin before the window": ("same & whole & ~allowed", "same & ~allowed"),
    "an old whitelist stays in its slot": ("self._asked[req_idx] = -1", ""),
    "what was asked stays off the card": ("self._staged = True\n        return bans", "return bans"),
    "rows are taken for slots": ("ctx.expanded_idx_mapping.long()", "torch.arange(len(ctx.idx_mapping_np))"),
    "a wider whitelist is cut": ("if missing > 0:", "if missing > 99:"),
    "the sequence's end is one too far": ("place = end - count", "place = end - count + 1"),
}


@with_v2
@pytest.mark.parametrize("name", MUTATIONS_OF_V2)
def test_a_mutation_of_runner_v2s_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(ngram.__file__).read_text()
    right, wrong = MUTATIONS_OF_V2[name]
    assert right in source
    mutant = ModuleType("mutant")
    exec(compile(source.replace(right, wrong), "mutant", "exec"), vars(mutant))  # noqa: S102 - our own source
    monkeypatch.setattr(ngram, "NGramProcessorV2", mutant.Slots)
    with pytest.raises((AssertionError, IndexError, RuntimeError, ValueError)):
        for seed in range(40):
            runner = RunnerV2(seeded(seed))
            for _ in range(60):
                runner.step()


TEXT = (Path(__file__).parents[2] / "README.md").read_bytes()[:3000]
TABLE = b"<tr><td>1</td><td>2.50</td></tr>" * 40
LOOP = TEXT[:200] + b"and so on, and so forth, and on and on again; " * 40
TEXTS = {"prose": TEXT, "a table": TABLE, "a loop": LOOP, "prose after a table": TABLE[:300] + TEXT[:1500]}


@with_v2
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("size", "window"), [(30, 90), (20, 400), (35, 128), (8, 64)])
def test_pages_of_text_get_upstreams_bans_on_runner_v2(
    text: str, size: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunnerStates, "vocab_size", 256)
    states = RunnerStates(2, 4000)
    ours = ngram.NGramProcessorV2(SimpleNamespace(speculative_config=None), states)
    allowed = [ord("<"), ord(">")]
    asked = {"ngram_size": size, "window_size": window, "whitelist_token_ids": allowed}
    ours.add_request(1, SamplingParams(extra_args=asked))
    ours.apply_staged_writes()
    upstream = NoRepeatNGramLogitsProcessor(size, window, set(allowed))
    row = np.array([1], dtype=np.int32)
    ctx = SimpleNamespace(expanded_idx_mapping=torch.from_numpy(row), idx_mapping_np=row)
    prompt, output = list(TEXT[:300]), list(TEXTS[text])
    states.write(1, prompt, output)
    for length in range(0, len(output), 7):
        states.total_len.gpu[1] = len(prompt) + length
        theirs = upstream(output[:length], torch.zeros(256))
        assert torch.equal(ours.apply(torch.zeros(1, 256), ctx)[0], theirs), length
