"""What a server's complaint means, told by its words where its status says too little. Pure.

SGLang (srt/managers/scheduler.py) answers 503 without a Retry-After where its queue is full.
llama.cpp (tools/server/server-context.cpp, server-common.cpp) lets pages share one context unless it is started with
`-np`, and once they fill it fails all of them with 500, or the one that comes. vLLM's words are of
v1/engine/input_processor.py.
"""

import re

from ocrd.engines.openai.faults import Crowded, Misconfigured, Overloaded, Refusal, ServerFault

_SERVERS_OWN, _UNAVAILABLE = 500, 503
_CROWDED = re.compile(r"Context size has been exceeded|failed to process mtmd chunk")
_QUEUE = re.compile(r"request queue is full|waiting timeout reached", re.IGNORECASE)
_BLIND = re.compile(r"image input is not supported|is not a multimodal model")
_TOO_LONG = re.compile(
    "Context size has been exceeded|exceeds? the available context size|maximum (?:model|context|allowed) length"
    "|model's context length"
)
_LARGER = "Give the server a larger context (vLLM: --max-model-len, llama.cpp: -c), and read this once more."
_EYES = "Start it with what lets it see (llama.cpp: --mmproj), or name a model that reads images."


def meaning(status: int, said: str) -> ServerFault | Refusal | None:
    """Say what its words tell; None where they are not known."""
    if status >= _SERVERS_OWN and _CROWDED.search(said):
        return Crowded(f"it had no room for all pages that were with it ({status}): {said}")
    if status == _UNAVAILABLE and _QUEUE.search(said):
        return Overloaded(f"it has too much to do ({status}): {said}")
    if _BLIND.search(said):
        return Misconfigured(f"It takes no images ({status}): {said.rstrip('.')}.", _EYES)
    if status < _SERVERS_OWN and _TOO_LONG.search(said):
        return Refusal(f"{said} ({status})", _LARGER)
    return None
