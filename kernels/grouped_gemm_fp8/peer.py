"""What grouped_gemm_fp8 is timed against: on a CPU torch's product of one group after the other, input and weights in
the dtype of the output, their scales multiplied in before; on a GPU torch's scaled grouped product."""

from __future__ import annotations

import torch
from common.peer import UNIT, Baseline, Case, Pair, Run, Values, ops, quantised, size
from common.peer_groups import each_group, ends, first_rows, grouped


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    g, n, k = case["G"], case["N"], case["K"]
    x, w = quantised(case["R"], k), quantised(g, n, k)
    of_rows, of_columns = UNIT * torch.rand(case["R"]) / k**0.5, UNIT * torch.rand(g, n)
    out, first = torch.empty(case["R"], n, dtype=dtype), first_rows(case)
    wide = (x.float() * of_rows[:, None]).to(dtype), (w.float() * of_columns[..., None]).to(dtype)
    return Pair(
        lambda: ops.grouped_gemm_fp8.default(out, x, of_rows, w, of_columns, first, None, None, None),
        each_group(*wide, case),
        out,
        size(x, w, out),
        2 * case["R"] * n * k,
    )


def scaled(v: Values) -> Run:
    x, w = v["input"], v["weight"]
    rows, columns = v["input_scale"].expand(len(x)).contiguous(), v["weight_scale"].expand(w.shape[:2]).contiguous()
    if not x.is_cuda:  # torch has its scaled one on a GPU alone
        dtype = v["out"].dtype
        return grouped((x.float() * rows[:, None]).to(dtype), (w.float() * columns[..., None]).to(dtype), v)
    by, of, dtype = w.transpose(1, 2), ends(v), torch.bfloat16
    return lambda: torch._scaled_grouped_mm(x, by, rows, columns, offs=of, out_dtype=dtype)


GPU_BASELINES = [Baseline(scaled)]
