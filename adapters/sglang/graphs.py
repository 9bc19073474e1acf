"""Which ops SGLang's CUDA graphs replay, and how they are captured anew.

SGLang captures its decode graphs again behind an update of weights (`recapture_decode_cuda_graph`), and its prefill
graphs by the function that made them. Neither was run with opswap: that takes a card.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import opswap
from opswap.adapters.sglang.probe import GRAPHS
from opswap.adapters.sglang.seams import TABLE
from opswap.ipc.toggles import Graphs

#: SGLang samples behind its graphs; prefill graphs alone leave attention out.
NEVER, ONLY_IN_DECODE = ("sampling",), ("attention",)
EAGER = "--disable-cuda-graph serves without graphs"


def _why_not() -> str:
    """What SGLang lacks for a new capture; looked at once, at import, so that a switch does not find out."""
    lost = [why for need in GRAPHS if (why := need.missing())]
    return f"{'; '.join(lost)}; {EAGER}" if lost else ""


WHY_NOT = _why_not()


def graphs_of(runner: Any) -> Graphs:
    """Of a ModelRunner; none on a CPU, and with --disable-cuda-graph."""
    decode, prefill = (_runner_of_graphs(runner, phase) for phase in ("decode", "prefill"))
    if not decode and not prefill:
        return Graphs()
    outside = {*NEVER, *(() if decode else ONLY_IN_DECODE)}
    free = {op for seam in TABLE.rows if seam.name in outside for op in seam.ops}
    # Also what no seam carries: a composite runs other ops within the capture.
    captured = frozenset(op["op"] for op in opswap.manifest()["ops"]) - free
    if WHY_NOT:
        return Graphs(captured, None, WHY_NOT)
    return Graphs(captured, partial(recapture, runner, decode, prefill))


def _runner_of_graphs(runner: Any, phase: str) -> bool:
    """SGLang puts its eager runner where there are no graphs."""
    found = getattr(runner, f"{phase}_cuda_graph_runner", None)
    return found is not None and found is not getattr(runner, "eager_runner", None)


def recapture(runner: Any, decode: bool, prefill: bool) -> None:
    """Captures anew with what is active now. On every rank, at one boundary between two steps."""
    if decode:
        runner.recapture_decode_cuda_graph()
    if prefill:
        runner.init_prefill_cuda_graph()
