"""Norm and rotation of query and key heads, and the store of keys and values through a block table, in numpy."""

import numpy as np
from common import ref_qk_norm_rope
from common.ref import ABSURD_BLOCK


def ref(**args):
    starts, positions, size = args["query_start_loc"], args["positions"], args["key_cache"].shape[2]
    slots = np.full(len(positions), -1)
    for b, table in enumerate(args["block_table"]):
        for t in range(starts[b], starts[b + 1]):
            slots[t] = table[positions[t] // size] * size + positions[t] % size
    return ref_qk_norm_rope.run(args, slots)


def inputs(case, rng, make):
    """`lens` = [[new tokens, cached before them], ...] on scattered pages; table entries that no token needs are
    absurd, and `pad` tokens behind the last sequence belong to none."""
    lens, size = np.array(case["lens"], int).reshape(-1, 2), case["BS"]
    used = -(-lens.sum(1) // size)
    tokens = int(lens[:, 0].sum()) + case.get("pad", 0)
    blocks = rng.permutation(int(used.sum()) + 2)
    args = make(B=len(lens), T=tokens, NB=len(blocks), MB=int(used.max(initial=0)) + 1)
    args["block_table"][:] = ABSURD_BLOCK
    starts = args["query_start_loc"]
    starts[:] = np.concatenate([[0], np.cumsum(lens[:, 0])])
    args["positions"][:] = 0
    for b, (new, before) in enumerate(lens):
        first = before // size
        args["block_table"][b, first : used[b]], blocks = blocks[first : used[b]], blocks[used[b] :]
        args["positions"][starts[b] : starts[b + 1]] = before + np.arange(new)
    return ref_qk_norm_rope.prepare(case, args)
