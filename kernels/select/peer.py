"""What select is timed against on a GPU: torch's index_select."""

from __future__ import annotations

from common.peer import Baseline

GPU_BASELINES = [Baseline(lambda v: lambda: v["input"].index_select(0, v["index"].clamp(min=0)))]
