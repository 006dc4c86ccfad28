"""Bans the tokens that would repeat an n-gram, for vLLM's sampler: what it bans is what upstream's processor bans.

Upstream is vllm/model_executor/models/deepseek_ocr.py (`NoRepeatNGramLogitsProcessor`, the same in 0.24 and 0.32). It
searches the window of every request anew for every token. Here what was found is kept from token to token and
counted on for the whole batch at once, and one write sets all of its bans.

vLLM loads `ocrd.engines.vllm.ngram:NGramProcessor` by name in its own processes, or `NGramProcessorV2` for its model
runner V2. Both come to be when they are asked for, since their base classes are vLLM's and this module is also read
where there is none.
"""

import math
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

BLANK = -2
"""Stands where no token is; -1 is vLLM's own, for a token that it doesn't know yet."""


class Limits(NamedTuple):
    """What one request asks for in its `extra_args`."""

    ngram_size: int
    """Tokens in the n-gram that must not come again. With 1 nothing is banned, as upstream."""

    window_size: int
    """How far back to look, in tokens. Less than an n-gram bans nothing."""

    whitelist: frozenset[Any]
    """Token ids that may always come; as upstream, anything else in it is ignored."""

    @property
    def allowed(self) -> list[int]:
        """The whitelist's token ids, for a tensor."""
        return [
            int(one) for one in self.whitelist if isinstance(one, int) or (isinstance(one, float) and one.is_integer())
        ]


def limits(params: Any) -> Limits | None:  # noqa: ANN401 - vLLM's SamplingParams
    """Read a request's limits; None where it sets no `ngram_size`. Raises ValueError for what upstream refuses.

    Two cases are kinder than upstream: empty `extra_args` ask for nothing (upstream refuses them), and a whitelist that
    makes no set is refused here (upstream's engine dies of it).
    """
    asked = params.extra_args or {}
    size = asked.get("ngram_size")
    if size is None:
        return None
    window = asked.get("window_size", 100)
    for name, value in (("ngram_size", size), ("window_size", window)):
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"`{name}` must be a whole number above zero, and is {value!r}.")
    whitelist = asked.get("whitelist_token_ids")
    try:
        return Limits(size, window, frozenset(() if whitelist is None else whitelist))
    except TypeError as error:
        raise ValueError(f"`whitelist_token_ids` must be a list of token ids, and is {whitelist!r}.") from error


def bans(output: Sequence[int], asked: Limits) -> int:
    """Count before how many tokens of an output some token was banned: where it was about to say an n-gram again.

    A token is a number from 0 that 63 bits hold.
    """
    length, count = asked.ngram_size - 1, 0
    if not length:
        return 0
    said, token = array("q", output).tobytes(), 8  # runs are cut out of bytes, and known again, faster than of numbers
    runs = [said[start : start + token * length] for start in range(0, len(said) - token * length, token)]
    if len(set(runs)) == len(runs):  # as on nearly all pages
        return 0
    last: dict[bytes, int] = {}  # where each run of that length ended when it came last
    for end, run in enumerate(runs, length):
        before = last.get(run, -1)
        if before >= length + max(0, end - asked.window_size) and output[before] not in asked.whitelist:
            count += 1
        last[run] = end
    return count


class Outputs:
    """Outputs with the same limits side by side, and how far each one's end agrees with itself further back.

    The n-gram that an output ends with came before, at some distance, when the last tokens agree one by one with those
    that far back. So it is enough to count, for each output and each distance in the window, how many tokens have
    agreed in a row: numpy does that for all of them at once.
    """

    def __init__(self, asked: Limits) -> None:
        import numpy as np

        self._asked = asked
        self._reach = asked.ngram_size - 1
        self._allowed = np.array(asked.allowed, dtype=np.int64)
        distances = max(0, asked.window_size - self._reach) if self._reach else 0
        self._rows: list[int] = []
        self._outputs: list[list[int]] = []
        self._seen: list[int] = []
        self._last: list[int] = []
        self._past = np.empty((0, distances), dtype=np.int32)  # tokens, the newest first
        self._agree = np.empty((0, distances), dtype=np.int32)  # [:, 0] counts at distance 1

    def arrange(self, outputs: dict[int, list[int]]) -> None:
        """Follow these outputs, by their rows in the batch: those known already, and new ones."""
        import numpy as np

        known = {id(output): place for place, output in enumerate(self._outputs)}
        places = [known.get(id(output), len(known)) for output in outputs.values()]  # a new one takes a blank place
        distances = self._past.shape[1]
        self._past = np.vstack((self._past, np.full((1, distances), BLANK, dtype=np.int32)))[places]
        self._agree = np.vstack((self._agree, np.zeros((1, distances), dtype=np.int32)))[places]
        seen, last = [*self._seen, 0], [*self._last, BLANK]
        self._seen, self._last = [seen[place] for place in places], [last[place] for place in places]
        self._rows, self._outputs = list(outputs), list(outputs.values())

    def advance(self) -> tuple[list[int], list[int]]:
        """Take in what the outputs have gained; return what is banned now: rows, and a token for each.

        An output gains one token at a time, or loses some (vllm/v1/worker/gpu_model_runner.py, `_update_states`; with
        speculative decoding, which could do both at once, vLLM refuses processors like this one). Whatever does not
        look like one token more is read anew.
        """
        import numpy as np

        if not self._agree.size:
            return [], []
        seen, last = self._seen, self._last
        for place, output in enumerate(self._outputs):
            length = len(output)
            if length != seen[place] + 1 or (length > 1 and output[-2] != last[place]):
                self._read(place, output[-self._asked.window_size : -1])
            seen[place] = length
            last[place] = output[-1] if output else BLANK
        self._append(slice(None), last)
        places, back = np.nonzero(self._agree >= self._reach)
        if not places.size:
            return [], []
        tokens = self._past[places, back]
        banned = ~np.isin(tokens, self._allowed)
        return [self._rows[place] for place in places[banned].tolist()], tokens[banned].tolist()

    def _read(self, place: int, tokens: list[int]) -> None:
        self._past[place] = BLANK
        self._agree[place] = 0
        for token in tokens:
            self._append(slice(place, place + 1), [token])

    def _append(self, places: slice, tokens: list[int]) -> None:
        import numpy as np

        newest = np.array(tokens, dtype=np.int32)[:, None]
        past, agree = self._past[places], self._agree[places]
        agree += 1
        agree *= (past == newest) & (past != BLANK)
        past[:, 1:] = past[:, :-1]
        past[:, :1] = newest


class Batch:
    """`NGramProcessor` without its base class: the requests in vLLM's running batch, by row.

    The base is vllm/v1/sample/logits_processor/interface.py (`LogitsProcessor`).
    """

    def __init__(self, vllm_config: object, device: Any, is_pin_memory: bool) -> None:  # noqa: ANN401, ARG002, FBT001 - vLLM's
        import torch
        from vllm.v1.sample.logits_processor.builtin import process_dict_updates

        self._rows: dict[int, tuple[Limits, list[int]]] = {}
        self._groups: dict[Limits, Outputs] = {}
        self._update = process_dict_updates
        self._never = torch.tensor(-math.inf, device=device)
        self._options = {"dtype": torch.int64, "pin_memory": is_pin_memory}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:  # noqa: ANN401 - SamplingParams
        """Refuse a request at the door; in the engine it would be everyone's fault."""
        limits(sampling_params)

    def is_argmax_invariant(self) -> bool:
        """Say that greedy sampling needs this processor too."""
        return False

    def update_state(self, batch_update: Any) -> None:  # noqa: ANN401 - BatchUpdate or None
        """Follow the requests that came, went or moved to another row."""
        if batch_update is None:
            return
        self._update(self._rows, batch_update, self._enter)
        wanted: dict[Limits, dict[int, list[int]]] = {}
        for row, (asked, output) in self._rows.items():
            wanted.setdefault(asked, {})[row] = output
        self._groups = {asked: self._groups.get(asked) or Outputs(asked) for asked in wanted}
        for asked, outputs in wanted.items():
            self._groups[asked].arrange(outputs)

    @staticmethod
    def _enter(params: Any, _prompt: object, output: list[int]) -> tuple[Limits, list[int]] | None:  # noqa: ANN401
        """Take a request in, with its output list, which vLLM goes on filling."""
        asked = limits(params)
        return None if asked is None else (asked, output)

    def apply(self, logits: "Tensor") -> "Tensor":
        """Set the banned tokens' logits to -inf, in place."""
        import torch

        rows: list[int] = []
        tokens: list[int] = []
        for group in self._groups.values():
            more_rows, more_tokens = group.advance()
            rows += more_rows
            tokens += more_tokens
        if rows:
            where = torch.tensor((rows, tokens), **self._options).to(logits.device, non_blocking=True)
            logits.index_put_(tuple(where), self._never.to(logits.dtype))
        return logits


class Slots:
    """`NGramProcessorV2` without its base class: everything happens on the card, so no step waits for its tokens.

    The base is vllm/v1/worker/gpu/sample/logits_processor/interface.py (`LogitsProcessor`). A slot is the place where
    V2 keeps a request for its life, until it ends or is preempted; its tokens lie on the card.
    """

    validate_params = Batch.validate_params

    def __init__(self, vllm_config: Any, req_states: Any) -> None:  # noqa: ANN401 - VllmConfig, LogitsProcRequestState
        if vllm_config.speculative_config is not None:  # drafted tokens stand elsewhere; runner V1 refuses the same
            raise ValueError("The n-gram processor does not work with speculative decoding.")
        import numpy as np

        self._states = req_states
        self._longest = req_states.all_token_ids.gpu.shape[1]
        self._asked = np.zeros((req_states.max_num_reqs, ALLOWED), dtype=np.int32)
        """For each slot: tokens of an n-gram but the last, the window, and then the whitelist, filled up with -1."""
        self._staged = True
        self._on_card: Tensor | None = None

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:  # noqa: ANN401 - SamplingParams
        """Take a request into a slot; tell whether anything can be banned for it."""
        import numpy as np

        asked = limits(sampling_params)
        window = min(asked.window_size, self._longest) if asked else 0
        bans = asked is not None and 1 < asked.ngram_size <= window
        allowed = [token for token in asked.allowed if 0 <= token < self._states.vocab_size] if asked and bans else []
        missing = ALLOWED + len(allowed) - self._asked.shape[1]
        if missing > 0:
            self._asked = np.pad(self._asked, ((0, 0), (0, missing)), constant_values=-1)
        self._asked[req_idx] = -1
        self._asked[req_idx, :ALLOWED] = (asked.ngram_size - 1, window) if asked and bans else (0, 0)
        self._asked[req_idx, ALLOWED : ALLOWED + len(allowed)] = allowed
        self._staged = True
        return bans

    def apply_staged_writes(self) -> None:
        """Bring what requests ask for to the card, in a tensor that no earlier step still reads."""
        import torch

        if not self._staged:
            return
        table = torch.from_numpy(self._asked.copy())
        if self._states.device.type == "cuda":
            table = table.pin_memory()
        self._on_card = table.to(self._states.device, non_blocking=True)
        self._staged = False

    def apply(self, logits: "Tensor", ctx: Any) -> "Tensor":  # noqa: ANN401 - LogitsContext
        """Set the banned tokens' logits to -inf, in place. Nothing here waits for the card."""
        import torch

        sizes, windows = self._asked[ctx.idx_mapping_np, :ALLOWED].T
        reach = int(sizes.max(initial=0))
        if not reach or self._on_card is None:
            return logits
        count = reach + int((windows - sizes).max())
        states, slots = self._states, ctx.expanded_idx_mapping.long()
        asked = self._on_card[slots]
        end, begin = states.total_len.gpu[slots, None], states.prompt_len.gpu[slots, None]
        place = end - count + torch.arange(count, device=slots.device)
        tokens = states.all_token_ids.gpu[slots[:, None], place.clamp(min=0)]
        in_window = place >= torch.maximum(begin, end - asked[:, 1:ALLOWED])
        followers, banned = repeats(tokens, in_window, asked, reach)
        penalty = torch.zeros_like(followers, dtype=logits.dtype).masked_fill_(banned, -math.inf)
        return logits.scatter_add_(1, followers.clamp(min=0).long(), penalty)


ALLOWED = 2
"""Column of `Slots._asked` where the whitelist begins."""


def repeats(tokens: "Tensor", in_window: "Tensor", asked: "Tensor", reach: int) -> "tuple[Tensor, Tensor]":
    """Find what would repeat an n-gram.

    `tokens` [rows, count] are the newest of each row's sequence; `in_window` [rows, count] tells which of them are
    output within the row's window; `asked` [rows, …] is as in `Slots`, and `reach` the largest in its first column.
    Returns the token that follows each run of `reach` tokens [rows, count - reach], and whether it is banned.
    """
    import torch

    size = asked[:, :1]
    newest = tokens[:, None, -reach:]
    runs = tokens.unfold(1, reach, 1)[:, :-1]
    too_far = torch.arange(reach, device=tokens.device) < reach - size  # where this row's n-gram is shorter
    same = ((runs == newest) | too_far[:, None]).all(-1)
    followers = tokens[:, reach:]
    first = torch.arange(reach, tokens.shape[1], device=tokens.device) - size
    whole = in_window.gather(1, first)  # of a row that asks for nothing, nothing is in its window
    allowed = (followers[..., None] == asked[:, None, ALLOWED:]).any(-1)
    return followers, same & whole & ~allowed


def __getattr__(name: str) -> type:
    """Make the classes that vLLM loads by name, each when it is first asked for."""
    if name == "NGramProcessor":
        from vllm.v1.sample.logits_processor.interface import LogitsProcessor

        ours: type = Batch
    elif name == "NGramProcessorV2":
        from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcessor

        ours = Slots
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = type(name, (ours, LogitsProcessor), {"__module__": __name__, "__doc__": ours.__doc__})
    globals()[name] = made
    return made
