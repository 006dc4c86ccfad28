"""The engine as `acceptance.py` lets a daemon run it: the real one, that also tells what it is and what it bans.

Its pages end after half to one and a half times the tokens asked for, by lot, as pages do; a landscape page kills it.
"""

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench/gpu")]

from gpu_faults import FragileEngine  # noqa: E402 - found through the path above

from ocrd.config.vllm import VllmSettings  # noqa: E402
from ocrd.engines.vllm import replica  # noqa: E402
from ocrd.engines.vllm.core import VllmCore  # noqa: E402
from ocrd.engines.vllm.launch_mode import LaunchMode  # noqa: E402
from ocrd.model import Approach  # noqa: E402

DICE = random.Random(1)  # noqa: S311 - no secret
usual = VllmCore._params


def by_lot(core: VllmCore, approach: Approach, max_tokens: int | None = None) -> Any:
    tokens = int(os.environ["OCRD_ACCEPTANCE_TOKENS"])  # no setting, since pages are kept only for the same settings
    return usual(core, approach, max_tokens or DICE.randint(tokens // 2, tokens + tokens // 2))


def bans(_worker: Any) -> list[str]:
    """Compare the n-gram processor with upstream's, on the card. Runs in EngineCore."""
    import ngram

    return ngram.v2(256, 100)


def tell(**facts: object) -> None:
    """Leave facts where `acceptance.py` looks for them."""
    with Path(os.environ["OCRD_ACCEPTANCE"]).open("a") as file:
        file.write(json.dumps(facts) + "\n")


class AcceptedEngine(FragileEngine):
    async def start(self) -> None:
        await super().start()
        first = self.replicas[0]
        tell(facts=self.info.facts, phases=first.phases, version=self.info.version)
        if "NGramProcessorV2" in str(self.info.facts) and first.core:
            (lines,) = await first.core._llm.collective_rpc(bans)
            tell(bans=lines)


def create(options: dict[str, Any]) -> AcceptedEngine:
    VllmCore._params = by_lot  # type: ignore[method-assign]
    if options.pop("soon_back", False):
        replica.USUAL = LaunchMode(graphs=False)  # type: ignore[misc]
    return AcceptedEngine(VllmSettings.model_validate(options))
