"""The model itself, in a process of its own: loaded by transformers' own class, asked for a batch of pages at a time.

A batch is of pages of one size that are asked the same. So nothing in it has to be padded, which not every class does
well, and a page reads in a batch as it does alone but for the last digits of the sums.

Names of transformers' source files are those of 5.19.
"""

import gc
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ocrd.engines import model_files, prompts
from ocrd.engines.transformers import setup
from ocrd.engines.transformers.setup import Orders
from ocrd.engines.vllm import ngram
from ocrd.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from torch import Tensor


class Asked(NamedTuple):
    """What pages of one batch have in common."""

    width: int
    height: int
    """Pixels."""
    prompt: str
    max_tokens: int
    temperature: float
    ngram_size: int
    """Tokens in a run that may not come twice; 1: any may."""
    window_size: int
    """How many tokens back a repeated run counts."""
    whitelist: Sequence[int]
    """Tokens that may repeat."""
    special_tokens: bool
    """Whether the answer's dialect has the model's special tokens."""

    @property
    def bans(self) -> ngram.Limits:
        """The repetitions that are banned."""
        return ngram.Limits(self.ngram_size, self.window_size, frozenset(self.whitelist))


class Answer(NamedTuple):
    """What the model said of a page."""

    text: str
    finish_reason: str
    """`stop` or `length`."""
    tokens: int
    """Generated, without the one that ends the answer."""
    bans: int


class Model:
    """A loaded model. For one thread."""

    def __init__(self, orders: Orders) -> None:
        """Load it, which takes as long as it takes. Raises ConfigError or EngineError."""
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        self._profile = orders.profile
        self.device = _device(orders.device)
        how = {"revision": orders.revision, "trust_remote_code": orders.trust_remote_code}
        dtype = orders.dtype if orders.dtype == "auto" else getattr(torch, orders.dtype)
        found = getattr(transformers, setup.class_name(orders))
        try:
            self._processor: Any = transformers.AutoProcessor.from_pretrained(orders.model, **how)
            # Weights as safetensors alone: the other kind can hold code.
            loaded = found.from_pretrained(orders.model, dtype=dtype, use_safetensors=True, **how)
            if self.device != "cpu":
                torch.cuda.set_per_process_memory_fraction(orders.memory, self.device)
            self._model: Any = loaded.eval().to(self.device)
        except Exception as error:
            if out_of_memory(error):
                raise EngineError(
                    f"The model {orders.model} needs more memory than {self.device} has for it.",
                    "End what else uses that, choose a smaller model, or set engine.transformers.device to another.",
                ) from error
            raise ConfigError(
                f"transformers {transformers.__version__} can't load {orders.model}: {model_files.cause(error)}.",
                "Fetch the model whole, or choose another profile.",
            ) from error
        self._ends = _ends(self._model, self._processor.tokenizer)
        self._plain_generation()
        self.batch = orders.batch or self._fitting(orders.memory)
        self.name = type(self._model).__name__
        self.dtype = str(self._model.dtype).removeprefix("torch.")

    def _plain_generation(self) -> None:
        """Forget what the model's generation_config.json asks for: only the profile says how it samples."""
        from transformers import GenerationConfig

        tokenizer = self._processor.tokenizer
        self._filling = next((one for one in (tokenizer.pad_token_id, *self._ends) if one is not None), 0)
        self._model.generation_config = GenerationConfig(eos_token_id=sorted(self._ends), pad_token_id=self._filling)

    def _fitting(self, share: float) -> int:
        """Guess how many pages fit into the memory, by the keys and values of the longest that a page may be."""
        import torch

        text = self._model.config.get_text_config()
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        token = 2 * text.num_hidden_layers * heads * head * self._model.dtype.itemsize
        free = _free_memory() if self.device == "cpu" else torch.cuda.mem_get_info(self.device)[0]
        half = free * share / 2  # the other half is for the work itself
        return max(1, min(setup.MOST, int(half / (token * self._profile.max_model_len))))

    def read(self, asked: Asked, pages: Sequence[bytes], step: Callable[[int], Sequence[bool]]) -> list[Answer]:
        """Read pages, which are RGB. `step` is told the tokens so far, and says which pages are given up.

        Raises whatever transformers, torch or the model's own code raises.
        """
        import torch
        from PIL import Image

        images = [Image.frombuffer("RGB", (asked.width, asked.height), one, "raw") for one in pages]
        text = prompts.text(self._processor, self._profile, asked.prompt)
        inputs = self._processor(
            text=[text] * len(images),
            images=[[image] for image in images],
            return_tensors="pt",
            add_special_tokens=False,
        )
        length = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            output = self._model.generate(
                **inputs.to(self.device, dtype=self._model.dtype),
                max_new_tokens=max(1, min(asked.max_tokens, self._profile.max_model_len - length)),
                logits_processor=[Bans(asked.bans, length)],
                stopping_criteria=[_Watch(length, step)],
                **self._sampling(asked.temperature),
            )
        return [self._answer(row, asked) for row in output[:, length:].tolist()]

    def _sampling(self, temperature: float) -> dict[str, Any]:
        chosen: dict[str, Any] = {"do_sample": False}
        if temperature:
            chosen = {"do_sample": True, "temperature": temperature, "top_p": self._profile.top_p, "top_k": 0}
        if self._profile.stop:
            chosen |= {"stop_strings": list(self._profile.stop), "tokenizer": self._processor.tokenizer}
        return chosen

    def _answer(self, row: list[int], asked: Asked) -> Answer:
        """Take what a row of tokens says, up to where it ended; behind that there is only filling."""
        end = next((place for place, token in enumerate(row) if token in self._ends), None)
        tokens = row[:end]
        while tokens and tokens[-1] == self._filling:
            tokens.pop()
        text = self._processor.tokenizer.decode(tokens, skip_special_tokens=not asked.special_tokens)
        stops = [place for stop in self._profile.stop if (place := text.find(stop)) >= 0]
        reason = "length" if end is None and not stops else "stop"
        return Answer(text[: min(stops, default=None)], reason, len(tokens), ngram.bans(tokens, asked.bans))


class Bans:
    """Bans the tokens that would repeat an n-gram: a `LogitsProcessor` (transformers/generation/logits_process.py)."""

    def __init__(self, limits: ngram.Limits, prompt: int) -> None:
        """Take what is banned, and how many tokens the prompt has, which don't count."""
        self._prompt = prompt
        self._past = ngram.Outputs(limits)
        self._outputs: list[list[int]] = []

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        """Set the banned tokens' scores to -inf, in place."""
        if not self._outputs:
            self._outputs = [[] for _ in input_ids]
            self._past.arrange(dict(enumerate(self._outputs)))
        fresh = input_ids[:, self._prompt + len(self._outputs[0]) :].tolist()
        for output, tokens in zip(self._outputs, fresh, strict=True):
            output.extend(tokens)
        places, banned = self._past.advance()
        scores[places, banned] = float("-inf")
        return scores


class _Watch:
    """Tells of each token, and gives pages up: a `StoppingCriteria` (transformers/generation/stopping_criteria.py)."""

    def __init__(self, prompt: int, step: Callable[[int], Sequence[bool]]) -> None:
        self._prompt, self._step = prompt, step

    def __call__(self, input_ids: "Tensor", _scores: object, **_kwargs: object) -> "Tensor":
        import torch

        return torch.tensor(self._step(input_ids.shape[1] - self._prompt), device=input_ids.device)


def out_of_memory(error: BaseException) -> bool:
    """Whether this is what torch or Python raises where memory is short; torch's message for the CPU is not its own."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def broken_card(error: BaseException) -> bool:
    """Whether a card failed so that this process can't use it any more."""
    return "CUDA error" in str(error)


def free_memory() -> None:
    """Give back what torch keeps of the card's memory for later."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _device(wanted: str) -> str:
    """Return where the model is to run. Raises ConfigError for a card that is not there."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda:0" if count else "cpu"
    if wanted != "cpu" and int(wanted.partition(":")[2]) >= count:
        raise ConfigError(
            f"engine.transformers.device is {wanted}, and torch {torch.__version__} sees {count} cards.",
            "Look at nvidia-smi, install a torch that is built for this card, or set it to cpu.",
        )
    return wanted


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:  # noqa: ANN401 - transformers' types
    """Return the tokens that end an answer."""
    text = model.config.get_text_config()
    told: Iterable[Any] = (model.generation_config.eos_token_id, getattr(text, "eos_token_id", None))
    ids = {one for each in told for one in (each if isinstance(each, list) else [each])} | {tokenizer.eos_token_id}
    return frozenset(one for one in ids if one is not None)


def _free_memory() -> int:
    """Return the bytes of the machine's memory that are free (proc(5), /proc/meminfo)."""
    with open("/proc/meminfo", encoding="ascii") as file:
        found = dict(line.split(":", 1) for line in file)
    return int(found["MemAvailable"].split()[0]) * 1024
