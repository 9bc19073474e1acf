"""What grouped products refuse on a CPU, with code and words, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import opswap
import pytest
from group_plans import Batch, made, words

BF16, E4M3 = np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.float8_e4m3fn)
GROUPS, N, K, ROWS = 2, 16, 32, 8


class Call:
    """Arguments that fit, by name; a test changes some."""

    def __init__(self, op: str) -> None:
        self.op = op
        code = op != "grouped_gemm_bf16"
        dtype, rows = E4M3 if code else BF16, ROWS
        ones: Callable = lambda *shape: np.ones(shape, np.float32)  # noqa: E731
        scales = {
            "grouped_gemm_bf16": (None, None),
            "grouped_gemm_fp8": (ones(rows), ones(GROUPS, N)),
            "grouped_gemm_fp8_block128": (ones(rows, 1), ones(GROUPS, 1, 1)),
        }[op]
        self.args: dict[str, Any] = {
            "out": np.full((rows, N), 5, BF16),
            "input": np.ones((rows, K), dtype),
            **({"input_scale": scales[0]} if code else {}),
            "weight": np.ones((GROUPS, N, K), dtype),
            **({"weight_scale": scales[1]} if code else {}),
            "expert_first_row": np.array([0, 3, 8], np.int32),
            "masked_m": None,
            "row_indices": None,
            "plan": None,
            **({"mn_major": False} if op == "grouped_gemm_fp8_block128" else {}),
            "batch_invariant": False,
        }

    def refused(self, code: str, text: str, **changed: Any) -> None:
        args = {**self.args, **changed}
        with pytest.raises(opswap.OpswapError, match=text) as caught:
            opswap.call(self.op, *args.values())
        assert caught.value.code == code
        assert (args["out"] == 5).all(), "nothing is written"


OPS = ("grouped_gemm_bf16", "grouped_gemm_fp8", "grouped_gemm_fp8_block128")
each_op = pytest.mark.parametrize("op", OPS)


def index(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@each_op
def test_what_fits_runs(op: str) -> None:
    call = Call(op)
    opswap.call(op, *call.args.values())
    assert (call.args["out"] == K).all()


@each_op
def test_offsets_that_go_backwards_or_beyond(op: str) -> None:
    words = "group {} has rows {} to {}, needs offsets that rise from 0 to at most 8"
    for offsets, which in (((0, 5, 3), (1, 5, 3)), ((0, 3, 9), (1, 3, 9)), ((-1, 3, 8), (0, -1, 3))):
        Call(op).refused("OPSWAP_E_VALUE", words.format(*which), expert_first_row=index(*offsets))


@each_op
def test_counts_above_capacity(op: str) -> None:
    for counts in ((4, 5), (4, -1)):
        given = {"expert_first_row": None, "masked_m": index(*counts)}
        Call(op).refused("OPSWAP_E_VALUE", rf"masked_m\[1\] is {counts[1]}, needs 0 to 4 rows", **given)


@each_op
def test_row_indices_out_of_range(op: str) -> None:
    for wrong in (8, -1):
        indices = np.array([0, 1, 2, 3, wrong, 5, 6, 7], np.int32)
        Call(op).refused("OPSWAP_E_VALUE", rf"row_indices\[4\] is {wrong}, needs 0 to 7", row_indices=indices)


@each_op
def test_rows_of_no_group_may_have_any_index(op: str) -> None:
    call = Call(op)
    call.args |= {"expert_first_row": index(1, 3, 7), "row_indices": index(99, 0, 1, 2, 3, 4, 5, -5)}
    opswap.call(op, *call.args.values())
    assert (call.args["out"][1:7] == K).all() and (call.args["out"][[0, 7]] == 5).all()


@each_op
def test_one_of_offsets_and_counts(op: str) -> None:
    both = {"masked_m": index(3, 4)}
    Call(op).refused("OPSWAP_E_ARGUMENT", "came with both of expert_first_row and masked_m", **both)
    Call(op).refused("OPSWAP_E_ARGUMENT", "came with neither of", expert_first_row=None)


@each_op
def test_rows_of_input_that_out_does_not_have(op: str) -> None:
    call = Call(op)
    more = np.ones((ROWS + 1, K), call.args["input"].dtype)
    scale = {} if op == OPS[0] else {"input_scale": np.ones((ROWS + 1, 1)[: call.args["input_scale"].ndim], np.float32)}
    call.refused("OPSWAP_E_SHAPE", "input has 9 rows, needs the 8 of out, or row_indices", input=more, **scale)
    both = {"expert_first_row": None, "masked_m": index(3, 4), "row_indices": index(*range(ROWS))}
    call.refused("OPSWAP_E_ARGUMENT", "row_indices came with masked_m", **both)


def test_scales_that_do_not_cover() -> None:
    ones: Callable = lambda *shape: np.ones(shape, np.float32)  # noqa: E731
    block, channel = Call("grouped_gemm_fp8_block128"), Call("grouped_gemm_fp8")
    block.refused("OPSWAP_E_SHAPE", r"needs 8 rows and 1 blocks", input_scale=ones(8, 2))
    block.refused("OPSWAP_E_SHAPE", r"needs 8 rows and 1 blocks, exchanged", mn_major=True)
    block.refused("OPSWAP_E_ARGUMENT", r"needs B0 == \(N \+ 127\) / 128, but B0 is 2", weight_scale=ones(2, 2, 1))
    block.refused("OPSWAP_E_ARGUMENT", r"needs B1 == \(K \+ 127\) / 128, but B1 is 2", weight_scale=ones(2, 1, 2))
    block.refused("OPSWAP_E_VALUE", "input_scale is missing", input_scale=None)
    channel.refused("OPSWAP_E_ARGUMENT", "needs A == 1 or A == T, but A is 3", input_scale=ones(3))
    channel.refused("OPSWAP_E_ARGUMENT", "needs C == 1 or C == N, but C is 3", weight_scale=ones(2, 3))


def plan_of(op: str, **other: Any) -> np.ndarray:
    given = {"sizes": [3, 5], "capacity": 0, "first": 0, "rows": ROWS, "n": N, "k": K, **other}
    return made(Batch(**{"element_bytes": 2 if op == "grouped_gemm_bf16" else 1, **given}))


@each_op
def test_a_plan_of_this_product_is_taken(op: str) -> None:
    call = Call(op)
    opswap.call(op, *{**call.args, "plan": plan_of(op)}.values())
    assert (call.args["out"] == K).all()


@each_op
def test_a_plan_of_anything_else(op: str) -> None:
    call = Call(op)
    wrong = "is of another shape; make another with grouped_gemm_plan"
    for other in ({"rows": 9}, {"n": 17}, {"k": 33}, {"element_bytes": 1 if op == OPS[0] else 2}):
        call.refused("OPSWAP_E_PLAN", wrong, plan=plan_of(op, **other))
    call.refused("OPSWAP_E_PLAN", "was made of other offsets or counts", plan=plan_of(op, sizes=[4, 4]))
    call.refused("OPSWAP_E_PLAN", "of the other kind", plan=plan_of(op, sizes=[3, 4], capacity=4))
    call.refused("OPSWAP_E_PLAN", "is not batch_invariant", plan=plan_of(op), batch_invariant=True)
    call.refused("OPSWAP_E_PLAN", f"has 44 words, needs {words(2)} for 2 groups", plan=plan_of(op, sizes=[1] * 3))
    for word, value, text in ((0, 2, "is of another version"), (8, 3, "a card that is not known"),
                              (9, 133, "a card that is not known"), (10, 1, "do not fit")):  # fmt: skip
        plan = plan_of(op)
        plan[word] = value
        call.refused("OPSWAP_E_PLAN", text, plan=plan)


def test_the_planner_refuses_them_as_well() -> None:
    plan = np.full(words(2), -7, np.int32)
    for given, text in (
        ((index(0, 5, 3), None, 8), "group 1 has rows 5 to 3"),
        ((None, index(4, 5), 8), r"masked_m\[1\] is 5, needs 0 to 4 rows"),
        ((None, index(4, 3), 9), "rows is 9, needs a multiple of the 2 groups"),
        ((index(0, 3), None, 8), "plan has 41 words, needs 38 for 1 groups"),
        ((None, None, 8), "came with neither of"),
    ):
        with pytest.raises(opswap.OpswapError, match=text):
            opswap.call("grouped_gemm_plan", plan, *given, 16, 32, 2, 2, False)
    assert (plan == -7).all()
