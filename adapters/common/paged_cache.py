"""Which slot of the paged KV cache each token of a batch goes to, worked out on the CPU."""

from __future__ import annotations

import numpy as np
import torch


def slot_mapping(
    query_start_loc: torch.Tensor,
    positions: torch.Tensor,
    block_table: torch.Tensor,
    slots: torch.Tensor,
    block_size: int,
) -> None:
    """Writes each token's slot: block_table [R, MB] at its position. Slots past the last token become -1 (skip)."""
    starts = query_start_loc.numpy()
    tokens = int(starts[-1])
    rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    block, offset = np.divmod(positions.numpy()[:tokens], block_size)
    out = slots.numpy()
    out[:tokens] = block_table.numpy()[rows, block] * np.int64(block_size) + offset
    out[tokens:] = -1
