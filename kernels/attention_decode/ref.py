"""Attention of one new token per sequence over a paged cache, in numpy; and inputs that try it."""

import numpy as np
from common.ref import inputs, paged

__all__ = ["inputs", "ref"]


def ref(out, lse, query, key_cache, value_cache, block_table, seq_lens, softmax_scale, sliding_window, softcap):
    """One query row per sequence, the newest of its tokens."""
    caches, starts = (key_cache, value_cache), np.arange(len(seq_lens) + 1)
    return paged(out, lse, query, caches, block_table, starts, seq_lens, softmax_scale, True, sliding_window, softcap)
