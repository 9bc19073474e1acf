"""Attention over a shared prefix and each sequence's own keys behind it, in numpy: one softmax over both, not two put
together; and inputs that try it."""

import numpy as np
from common import ref as paged
from common.ref_attention_plan import fill_plan


def ref(out, lse, query, key_cache, value_cache, prefix_block_table, block_table, query_start_loc, seq_lens, **how):
    result = {"out": np.zeros(out.shape), "lse": np.full(out.shape[:2], -np.inf)}
    size, prefix = key_cache.shape[2], np.arange(how["prefix_len"])
    for b, length in enumerate(seq_lens):
        rows, at = slice(*query_start_loc[b : b + 2]), np.arange(length)
        blocks = np.concatenate([prefix_block_table[0, prefix // size], block_table[b, at // size]])
        slots = blocks, np.concatenate([prefix, at]) % size
        keys = paged.cached(key_cache, how["k_scale"], how["k_scale_cache"], slots, query.shape[1])
        values = paged.cached(value_cache, how["v_scale"], how["v_scale_cache"], slots, query.shape[1])
        count = rows.stop - rows.start
        hidden = np.zeros((count, len(blocks)), bool)
        if how["causal"]:
            hidden[:, len(prefix) :] = length - count + np.arange(count)[:, None] < at
        result["out"][rows], result["lse"][rows] = paged.attend(
            query[rows], keys, values, hidden, how["softmax_scale"], how["softcap"], how["sinks"]
        )
    return result if lse is not None else {"out": result["out"]}


def inputs(case, rng, make):
    """The prefix is made as one more sequence without rows, and then taken out."""
    more = {**case, "lens": [*case["lens"], [0, case["prefix_len"]]]}
    args = paged.inputs(more, rng, lambda **dims: make(**dims, PM=1))
    args["prefix_block_table"] = args["block_table"][-1:].copy()
    for name in ("block_table", "query_start_loc", "seq_lens", "plan"):
        args[name] = None if args[name] is None else args[name][:-1].copy()
    if case.get("planned"):
        fill_plan(args, case)
    return args
