"""A process that holds an engine until it is killed; prints the ids of EngineCore and its workers."""

import asyncio
import sys
from pathlib import Path

from ocrd.config.vllm import VllmSettings
from ocrd.engines.vllm.engine import VllmEngine
from ocrd.engines.vllm.process_guard import pid_in


async def main(settings: str, folder: str) -> None:
    engine = VllmEngine(VllmSettings.model_validate_json(settings), Path(folder))
    await engine.start()
    pid = pid_in(engine.replicas[0].home.record)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    print(pid, children, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":  # vLLM's processes import this file
    asyncio.run(main(*sys.argv[1:]))
