"""Run as a program, on a host of its own: takes over TensorRT-LLM's operators as the adapter does, calls them under
every implementation that can be chosen here, gives them back, and prints what it saw as JSON.

A process of its own, because an implementation is registered once per process and stays.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[3]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
EPS = 1e-6


def inputs(op: str, dtype: torch.dtype) -> list:
    draw = torch.Generator().manual_seed(len(op))
    x, residual = (torch.randn(7, 256, generator=draw).to(dtype) for _ in range(2))
    weight = torch.rand(256, generator=draw).to(dtype)
    return {
        "flashinfer_rmsnorm": [x, weight, EPS],
        "flashinfer_fused_add_rmsnorm": [x, residual, weight, EPS],
        "flashinfer_silu_and_mul": [x],
        "flashinfer_gelu_tanh_and_mul": [x],
    }[op]


#: The op of each operator, and which of its arguments come from the operator's, in the order of the op's.
OPS = {
    "flashinfer_rmsnorm": ("rms_norm", lambda a: [None, *a]),
    "flashinfer_fused_add_rmsnorm": ("fused_add_rms_norm", lambda a: a),
    "flashinfer_silu_and_mul": ("silu_and_mul", lambda a: [None, *a]),
    "flashinfer_gelu_tanh_and_mul": ("gelu_tanh_and_mul", lambda a: [None, *a]),
}


def exact(op: str, args: list) -> list[np.ndarray]:
    """By the room's ref.py, in float64: what the operator returns, or what it leaves in its written arguments."""
    sys.path[:0] = [str(ROOT / "kernels"), str(ROOT / "native")]
    room, order = OPS[op]
    wide = [a.double().numpy() if isinstance(a, torch.Tensor) else a for a in args]
    found = importlib.import_module(f"{room}.ref").ref(*order(wide))
    return [found["input"], found["residual"]] if op == "flashinfer_fused_add_rmsnorm" else [found["out"]]


def called(op: str, args: list) -> list[torch.Tensor]:
    own = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
    out = getattr(torch.ops.trtllm, op)(*own)
    return own[:2] if out is None else [out]


def error(found: list[torch.Tensor], wanted: list[np.ndarray]) -> float:
    """The largest difference, in units of 1 plus the right value's size."""
    return max(
        float(np.max(np.abs(f.double().numpy() - w) / (1 + np.abs(w)))) for f, w in zip(found, wanted, strict=True)
    )


def main() -> dict:
    import opswap
    from opswap.adapters.common.plugin import activate
    from opswap.adapters.trtllm import overrides
    from opswap.adapters.trtllm.adapter import ADAPTER

    importlib.import_module(overrides.OPERATORS)
    operators = [op for op in OPS if overrides.exists(op)]
    before = {op: [t.tolist() for t in called(op, inputs(op, torch.float32))] for op in operators}
    activate(ADAPTER)
    told: dict = {"operators": operators, "active": overrides.active(), "impls": {}, "calls": {}, "errors": {}}
    for op in operators:
        room = OPS[op][0]
        impls = [impl["name"] for impl in opswap.why(room)["impls"] if impl["usable"]]
        told["impls"][op] = impls
        for impl in [*impls, *reversed(impls)]:  # there and back
            opswap.use(room, impl)
            counts = _calls(opswap, room)
            for dtype in DTYPES:
                args = inputs(op, dtype)
                found = error(called(op, args), exact(op, args))
                key = f"{op}/{impl}/{dtype}"
                told["errors"][key] = max(found, told["errors"].get(key, 0.0))
            ran = {name: count - counts[name] for name, count in _calls(opswap, room).items() if count != counts[name]}
            told["calls"].setdefault(f"{op}/{impl}", []).append(ran)
        opswap.use(room, "cpu")
        checks = torch.library.opcheck(getattr(torch.ops.trtllm, op).default, tuple(inputs(op, torch.float32)))
        told.setdefault("opcheck", {})[op] = checks
    counts = {op: _calls(opswap, OPS[op][0]) for op in operators}
    overrides.restore()
    after = {op: [t.tolist() for t in called(op, inputs(op, torch.float32))] for op in operators}
    told["restored"] = {op: after[op] == before[op] for op in operators}
    told["untouched"] = all(_calls(opswap, OPS[op][0]) == counts[op] for op in operators)
    return told


def _calls(opswap, room: str) -> dict[str, int]:
    (row,) = [row for row in opswap.stats()["ops"] if row["op"] == room]
    return {impl["name"]: impl["calls"] for impl in row["impls"]}


if __name__ == "__main__":
    print("FOUND " + json.dumps(main()))
