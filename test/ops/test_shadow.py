"""Shadow runs of every room: nothing live changes, and what is told of the two arms is what a second count gives."""

from __future__ import annotations

import numpy as np
import opswap
import pytest
from opswap.errors import OpswapError
from rooms import Room, all_cases, check, rooms

ALL = {"share_of_calls": 1.0, "share_of_time": 1.0}


@pytest.fixture(autouse=True)
def stopped():
    yield
    for op in [room.name for room in rooms()]:
        try:
            opswap.shadow_stop(op)
        except OpswapError as error:
            assert "no shadow was started" in str(error)


@pytest.mark.parametrize(("room", "case", "types"), all_cases(rooms())[::4])
def test_arms_agree_and_the_live_call_is_right(room: Room, case: dict, types: dict[str, str]) -> None:
    """`check` holds the live call against ref.py, between guards; both arms are within its tolerance of each other."""
    fast = opswap.active(room.name)
    opswap.shadow_start(room.name, "ref", fast, **ALL)
    check(room, case, types, fast)
    (record,) = opswap.shadow_read(room.name)
    assert (record["control_status"], record["candidate_status"]) == ("OPSWAP_OK", "OPSWAP_OK")
    assert not record["candidate_overran"] and record["became_nonfinite"] == 0
    # Each may be on its own side of the reference.
    assert record["outside"] == 0 or record["worst"] <= 2.1 or _codes(room)
    assert record["floor_differing"] == 0  # `ref` is the same each time
    assert opswap.shadow_status(room.name)["buckets"] == [{"bucket": record["bucket"], "seen": 1, "chosen": 1}]


def _codes(room: Room) -> bool:
    """Whether an output is in steps of a code: one step is allowed for a share of the elements."""
    return any("equal_ratio" in limits for limits in room.spec["tolerance"].values())


def test_what_is_told_of_a_difference_is_what_numpy_counts() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((7, 200)).astype(np.float32)
    wanted = (x / (1 + np.exp(-x))).astype(np.float32)
    got = [np.empty_like(x) for _ in range(2)]
    for impl, out in zip(("ref", "cpu"), got, strict=True):
        opswap.call("silu", out, x, impl=impl)
    assert np.allclose(got[0], wanted, atol=1e-5)
    opswap.shadow_start("silu", "ref", "cpu", **ALL)
    opswap.call("silu", np.empty_like(x), x)
    (record,) = opswap.shadow_read("silu")
    control, candidate = (a.astype(np.float64) for a in got)
    limits = opswap.op_spec("silu")["tolerance"]["float32"]
    apart, allowed = np.abs(candidate - control), limits["atol"] + limits["rtol"] * np.abs(control)
    assert record["elements"] == x.size
    assert record["differing"] == int((candidate != control).sum()) > 0
    assert record["outside"] == int((apart > allowed).sum())
    assert record["max_abs"] == apart.max()
    assert record["worst"] == pytest.approx((apart / allowed).max(), rel=1e-12)


def test_one_per_op_and_known_names() -> None:
    opswap.shadow_start("silu", "ref", "cpu")
    with pytest.raises(OpswapError, match="OPSWAP_E_EXISTS"):
        opswap.shadow_start("silu", "ref", "cpu")
    with pytest.raises(OpswapError, match=r"no implementation named 'cup'; it has .*cpu"):
        opswap.shadow_start("gelu", "ref", "cup")


def test_traced_calls_name_their_arm() -> None:
    x = np.ones((3, 8), np.float32)
    opswap.trace_start(64)
    opswap.shadow_start("silu", "ref", "cpu", **ALL)
    before = [r["sequence"] for r in opswap.trace_read()]
    opswap.call("silu", np.empty_like(x), x)
    new = [r for r in opswap.trace_read(max(before, default=0)) if r["op"] == "silu"]
    opswap.trace_start(0)
    assert sorted((r["arm"], r["impl"]) for r in new) == [
        ("candidate", "cpu"),
        ("control", "ref"),
        ("live", opswap.active("silu")),
    ]
    assert {r["bucket"] for r in new} == {"T4 I8 float32"}
