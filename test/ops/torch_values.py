"""Values of a room as torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def to_torch(value: Any) -> Any:
    """A torch tensor over a copy of the array; types that numpy lacks travel as their bits."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.name in ("bfloat16", "float8_e4m3fn"):
        bits = np.ascontiguousarray(value).view(f"i{value.dtype.itemsize}").copy()
        return torch.from_numpy(bits).view(getattr(torch, value.dtype.name))
    return torch.from_numpy(np.ascontiguousarray(value).copy())
