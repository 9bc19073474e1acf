"""Attention of the new tokens of each sequence over a paged cache, in numpy; and inputs that try it."""

from common.ref import inputs, paged

__all__ = ["inputs", "ref"]


def ref(
    out,
    lse,
    query,
    key_cache,
    value_cache,
    block_table,
    query_start_loc,
    seq_lens,
    softmax_scale,
    causal,
    sliding_window,
    softcap,
):
    caches, window = (key_cache, value_cache), sliding_window
    return paged(
        out, lse, query, caches, block_table, query_start_loc, seq_lens, softmax_scale, causal, window, softcap
    )
