"""The row of `ab` on an A/A: shadows of two equal arms behind calls of this process."""

from __future__ import annotations

from typing import Any

import numpy as np
import opswap

PAGE = 1000


def _arguments() -> dict[str, list[Any]]:
    rng = np.random.default_rng(2026)
    x, weight, matrix = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 576), (576,), (576, 576)))
    return {"rms_norm": [np.empty_like(x), x, weight, 1e-6], "linear": [np.empty_like(x), x, matrix, None]}


def _records(op: str, args: list[Any], calls: int) -> list[dict[str, Any]]:
    arm = opswap.active(op)
    opswap.shadow_start(op, arm, arm, salt=7, share_of_calls=1.0, share_of_time=1.0, most_of_bucket=calls)
    records: list[dict[str, Any]] = []
    for step in range(calls):
        opswap.set_context(0, step + 1, 0)
        opswap.call(op, *args)
        if step % PAGE == PAGE - 1:
            records += opswap.shadow_read(op, records[-1]["sequence"] if records else 0)
    opswap.shadow_stop(op)
    return records


def _told(records: list[dict[str, Any]]) -> dict[str, float]:
    ratios = np.log([r["candidate_ns"] / r["control_ns"] for r in records])
    first = np.array([r["candidate_first"] for r in records], dtype=bool)
    pairs = min(first.sum(), (~first).sum())
    blocks = (ratios[first][:pairs] + ratios[~first][:pairs]) / 2
    control = float(np.median([r["control_ns"] for r in records]))
    order = float((np.median(ratios[first]) - np.median(ratios[~first])) / 2)
    return {
        "median": float(np.median(blocks)),
        "spread": float(blocks.std()),
        "second_gains": order,
        "control_ns": control,
    }


def aa(calls: int) -> dict[str, Any]:
    opswap.set_threads(1)
    rows = {op: _told(_records(op, args, calls)) for op, args in _arguments().items()}
    return {"within": max(abs(row["median"]) for row in rows.values()), "reach": 0.005, **rows}
