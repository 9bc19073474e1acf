"""What gemm_fp8 is timed against: on a CPU torch's product with the weights in the dtype of the input, their scales
multiplied in before; on a GPU torch's scaled product of rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import UNIT, Baseline, Case, Pair, Run, Values, ops, quantised, size


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    m, n, k = case["M"], case["N"], case["K"]
    x, codes = torch.randn(m, k).to(dtype), quantised(n, k)
    scale = UNIT * torch.rand(n) / k**0.5
    w = (codes.float() * scale[:, None]).to(dtype)
    out = torch.empty(m, n, dtype=dtype)
    return Pair(
        lambda: ops.gemm_fp8.default(out, x, None, codes, scale, None),
        lambda: F.linear(x, w),
        out,
        size(x, codes, scale, out),
        2 * m * n * k,
    )


def scaled_mm(v: Values) -> Run:
    rows, columns = v["input_scale"].expand(len(v["input"])), v["weight_scale"].expand(len(v["weight"]))
    scales = rows[:, None].contiguous(), columns[None, :].contiguous()
    return lambda: torch._scaled_mm(v["input"], v["weight"].t(), *scales, bias=v["bias"], out_dtype=v["out"].dtype)


GPU_BASELINES = [Baseline(scaled_mm)]
