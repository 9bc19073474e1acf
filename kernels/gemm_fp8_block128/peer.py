"""What gemm_fp8_block128 is timed against: torch's product of 16 bits, for which weights and codes of the input are
restored before."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import UNIT, Baseline, Case, Pair, Run, Values, ops, pair_of_codes
from common.peer_groups import BLOCK, in_16_bits, spread


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    n, k = case["N"], case["K"]
    scale = UNIT * torch.rand(-(-n // BLOCK), -(-k // BLOCK)) / k**0.5
    return pair_of_codes(ops.gemm_fp8_block128.default, case, dtype, scale, spread(scale, torch.Size((n, k))))


def linear(v: Values) -> Run:
    x, weight = in_16_bits(v)
    return lambda: F.linear(x, weight, v["bias"])


GPU_BASELINES = [Baseline(linear)]
