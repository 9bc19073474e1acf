"""What gelu is timed against: torch's own, with the error function."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import Case, Pair, ops
from common.peer_activation import plain_baseline, plain_pair


def cpu_pair(case: Case, dtype: torch.dtype) -> Pair:
    return plain_pair(ops.gelu.default, F.gelu, case, dtype, False)


GPU_BASELINES = [plain_baseline(F.gelu)]
