"""What copy is timed against on a GPU: torch's copy."""

from __future__ import annotations

from common.peer import Baseline

GPU_BASELINES = [Baseline(lambda v: lambda: v["out"].copy_(v["input"]))]
