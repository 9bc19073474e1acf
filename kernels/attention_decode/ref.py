"""Attention of the newest tokens of each sequence over a paged cache, in numpy; and inputs that try it."""

import numpy as np
from common.ref import inputs, paged

__all__ = ["inputs", "ref"]


def ref(seq_lens, q_len, **args):
    """q_len rows per sequence, the newest of its tokens; one of length 0 has rows that see nothing."""
    return paged(seq_lens=seq_lens, query_start_loc=np.arange(len(seq_lens) + 1) * q_len, causal=True, **args)
