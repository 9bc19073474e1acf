"""Which ops vLLM's CUDA graphs replay, read from the mode that a worker has settled on.

vLLM has what a new capture takes (`clear_all_graphs` or `release_graphs`, then `capture_model`), but it was run on no
card with opswap. Until it was, a switch of a captured op is refused: a rank must not acknowledge what it does not do.
"""

from __future__ import annotations

from typing import Any

import opswap
from opswap.adapters.vllm.seams import TABLE
from opswap.ipc.toggles import Graphs

#: vLLM samples behind its graphs, and piecewise ones leave attention out.
NEVER, ONLY_IN_FULL = ("sampling",), ("attention",)
EAGER = '--enforce-eager, or --compilation-config \'{"cudagraph_mode": "NONE"}\', serves without graphs'


def graphs_of(worker: Any) -> Graphs:
    """None on a CPU, in eager mode, and before the worker knows its mode."""
    mode = worker.vllm_config.compilation_config.cudagraph_mode
    if mode is None or mode.name == "NONE":
        return Graphs()
    outside = {*NEVER, *(() if mode.has_full_cudagraphs() else ONLY_IN_FULL)}
    free = {op for seam in TABLE.rows if seam.name in outside for op in seam.ops}
    # Also what no seam carries: a composite runs other ops within the capture.
    captured = frozenset(op["op"] for op in opswap.manifest()["ops"]) - free
    return Graphs(captured, None, f"a new capture by vLLM was not run with opswap yet ({mode.name}); {EAGER}")
