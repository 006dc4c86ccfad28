"""A process that holds an engine until it is killed; prints the ids of EngineCore and its workers."""

import asyncio
import sys
from pathlib import Path

from ocrd.engines.tether import pid_in
from ocrd.engines.vllm import VllmEngine
from ocrd.vllm_settings import VllmSettings


async def main(settings: str, folder: str) -> None:
    engine = VllmEngine(VllmSettings.model_validate_json(settings), Path(folder))
    await engine.start()
    pid = pid_in(engine._home.record)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    print(pid, children, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":  # vLLM's processes import this file
    asyncio.run(main(*sys.argv[1:]))
