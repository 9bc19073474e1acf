"""The record that attention_plan makes, in numpy: kernels/attention_plan/README.md says what its words are."""

import numpy as np
from common.ref_attention_plan import attention_plan


def inputs(case, rng, make):
    lens = np.array(case["lens"], int).reshape(-1, 2)
    args = make(B=len(lens), F=len(lens) + 1, P=597 + len(lens))
    args["seq_lens"][:] = lens[:, 1]
    if args["query_start_loc"] is not None:
        args["query_start_loc"][:] = np.concatenate([[0], np.cumsum(lens[:, 0])])
    return args


def ref(plan, seq_lens, query_start_loc, **how):
    return {"plan": attention_plan(seq_lens, query_start_loc, **how)}
