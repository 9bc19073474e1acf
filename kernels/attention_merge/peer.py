"""What attention_merge is timed against: torch's sums, eager, as an engine would write them."""

from __future__ import annotations

import torch
from common.peer import Baseline, Case, Pair, Run, Values, ops, size


def merged(states: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
    shares = torch.softmax(logs, 0).unsqueeze(-1)
    return (shares * states.float()).sum(0)


def both(v: Values) -> tuple[torch.Tensor, torch.Tensor]:
    if v["other"] is None:
        return v["states"], v["states_lse"]
    return torch.cat([v["states"], v["other"][None]]), torch.cat([v["states_lse"], v["other_lse"][None]])


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    n, t, h, d = (case[name] for name in ("N", "T", "QH", "D"))
    states, logs = torch.randn(n, t, h, d).to(dtype), torch.randn(n, t, h)
    other, other_lse = (torch.randn(t, h, d).to(dtype), torch.randn(t, h)) if case["A"] else (None, None)
    out, lse = torch.empty(t, h, d, dtype=dtype), torch.empty(t, h)
    v = {"states": states, "states_lse": logs, "other": other, "other_lse": other_lse}
    return Pair(
        lambda: ops.attention_merge.default(out, lse, states, logs, other, other_lse),
        lambda: merged(*both(v)).to(dtype),
        out,
        size(states, logs, out, lse) + (size(other, other_lse) if case["A"] else 0),
        3 * (n + bool(case["A"])) * t * h * d,
    )


def eager(v: Values) -> Run:
    return lambda: merged(*both(v))


GPU_BASELINES = [Baseline(eager)]
