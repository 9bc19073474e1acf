"""What gelu_tanh_and_mul is timed against: torch's activation and product."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import Case, Pair, ops
from common.peer_activation import gated_baseline, gated_pair


def _gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate="tanh")


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    return gated_pair(ops.gelu_tanh_and_mul.default, _gelu_tanh, case, dtype)


GPU_BASELINES = [gated_baseline(_gelu_tanh)]
