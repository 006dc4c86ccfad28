"""The slower ways to run a vLLM whose kernels or graphs fail on this machine: an engine that reads slowly is still one.

A version that ocrd was never run with can bring a kernel that this machine's Triton does not compile, or record a CUDA
graph that this card does not take. Both end EngineCore at its start, and both can be done without.
"""

import re
from dataclasses import dataclass

KERNEL_FAULT = re.compile(r"CompilationError|\btriton\.\S*Error|\bOutOfResources\b|\bptxas\b|PassManager::run failed")
"""What Triton says of a kernel that it can't compile or launch."""

GRAPH_FAULT = re.compile(
    r"cudaErrorStreamCapture|captur(?:e|ing)\b.*(?:graph|stream)|graph.*captur(?:e|ing)\b", re.IGNORECASE
)
"""What CUDA, torch and vLLM say of a graph that can't be recorded."""


@dataclass(frozen=True)
class LaunchMode:
    """How the card's work is launched. All of them give the same texts."""

    tower_kernel: bool = True
    """Whether the vision towers use vLLM's own attention kernel; otherwise torch's."""
    graphs: bool = True
    """Whether work is compiled, recorded as CUDA graphs and replayed; otherwise each kernel is launched by itself."""

    def slower(self, messages: str) -> "LaunchMode | None":
        """Return what is worth a try after a start that failed with these messages; None if nothing is."""
        if self.tower_kernel and KERNEL_FAULT.search(messages):
            return LaunchMode(tower_kernel=False, graphs=self.graphs)
        if self.graphs and (KERNEL_FAULT.search(messages) or GRAPH_FAULT.search(messages)):
            return LaunchMode(tower_kernel=self.tower_kernel, graphs=False)
        return None

    def __str__(self) -> str:
        left_out = ["vLLM's kernel for the vision towers"] * (not self.tower_kernel) + ["CUDA graphs"] * (
            not self.graphs
        )
        return f"without {' and '.join(left_out)}" if left_out else "as usual"


USUAL = LaunchMode()
