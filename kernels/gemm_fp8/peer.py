"""What gemm_fp8 is timed against: on a CPU torch's product with the weights in the dtype of the input, their scales
multiplied in before; on a GPU torch's scaled product of rows."""

from __future__ import annotations

import torch
from common.peer import UNIT, Baseline, Case, Pair, Run, Values, ops, pair_of_codes


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    scale = UNIT * torch.rand(case["N"]) / case["K"] ** 0.5
    return pair_of_codes(ops.gemm_fp8.default, case, dtype, scale, scale[:, None])


def scaled_mm(v: Values) -> Run:
    rows, columns = v["input_scale"].expand(len(v["input"])), v["weight_scale"].expand(len(v["weight"]))
    scales = rows[:, None].contiguous(), columns[None, :].contiguous()
    return lambda: torch._scaled_mm(v["input"], v["weight"].t(), *scales, bias=v["bias"], out_dtype=v["out"].dtype)


GPU_BASELINES = [Baseline(scaled_mm)]
