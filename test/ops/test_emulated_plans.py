"""Plans of products that are chosen: each way of the kernels gives the product, a plan that does not fit is refused
before anything is written, and a plan file decides what a call takes. On the emulated library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import opswap
import pytest

OP = "linear"
M, N, K = 5, 136, 528
HEADER = 32  # of the library, before the implementation's own part
RNG = np.random.default_rng(11)
X, W = (RNG.standard_normal(shape).astype(ml_dtypes.bfloat16) for shape in ((M, K), (N, K)))


def device(array: np.ndarray) -> opswap.Tensor:
    strides = [s // array.itemsize for s in array.strides]
    return opswap.Tensor(array.ctypes.data, str(array.dtype), list(array.shape), strides, 2, 0)


def arguments(out: np.ndarray) -> tuple[Any, ...]:
    return device(out), device(X[: len(out)]), device(W), None


def empty(rows: int = M) -> np.ndarray:
    return np.full((rows, N), np.nan, ml_dtypes.bfloat16)


def test_each_way_gives_the_product() -> None:
    exact = X.astype(np.float64) @ W.astype(np.float64).T
    ways = opswap.plan_ways(OP, *arguments(empty()), impl="sm90")["ways"]
    assert {"swap 128x8", "swap 128x8 split 2"} <= {way["way"] for way in ways}
    assert [way["cycles"] for way in ways] == sorted(way["cycles"] for way in ways)
    for way in ways:
        out = empty()
        plan = opswap.plan_as(OP, way["way"], *arguments(out), impl="sm90")
        opswap.call(OP, *arguments(out), impl="sm90", plan=plan)
        np.testing.assert_allclose(out.astype(np.float64), exact, rtol=0.016, atol=0.02, err_msg=way["way"])


def codes(m: int, n: int, k: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Arguments of gemm_fp8_block128 up to the weights' scales, and the product."""
    out = np.full((m, n), np.nan, ml_dtypes.bfloat16)
    x, w = (RNG.standard_normal((rows, k)).astype(ml_dtypes.float8_e4m3fn) for rows in (m, n))
    of_x = RNG.uniform(0.5, 2, (m, -(-k // 128))).astype(np.float32)
    of_w = RNG.uniform(0.5, 2, (-(-n // 128), -(-k // 128))).astype(np.float32)
    columns, rows = np.arange(k) // 128, np.arange(n) // 128
    exact = (x.astype(np.float64) * of_x[:, columns]) @ (w.astype(np.float64) * of_w[rows][:, columns]).T
    return [out, x, of_x, w, of_w], exact


def test_each_way_of_codes_gives_the_product() -> None:
    """Rows that end inside of a tile of 64 and of 128, and an odd number of steps of K."""
    arrays, exact = codes(136, 136, 1056)
    args = (*map(device, arrays), None)
    ways = [way["way"] for way in opswap.plan_ways("gemm_fp8_block128", *args, impl="sm90")["ways"]]
    assert {"64x128", "64x128 split 2", "128x128", "128x128 split 2", "swap 128x64"} <= set(ways)
    from test_emulated import SANITIZED  # here: the processes of tests below have this file's folder alone

    if SANITIZED:  # the swapped tiles are in the room's own cases
        ways = [way for way in ways if not way.startswith("swap")]
    for way in ways:
        arrays[0][:] = np.nan
        plan = opswap.plan_as("gemm_fp8_block128", way, *args, impl="sm90")
        opswap.call("gemm_fp8_block128", *args, impl="sm90", plan=plan)
        np.testing.assert_allclose(arrays[0].astype(np.float64), exact, rtol=0.016, atol=0.1, err_msg=way)


def test_half_a_tile_is_planned_where_that_fills_the_card() -> None:
    args = (*map(device, codes(192, 44 * 128, 256)[0]), None)
    assert opswap.plan_ways("gemm_fp8_block128", *args, impl="sm90", device="H100")["taken"] == "64x128"
    assert "64x128" not in {w["way"] for w in opswap.plan_ways(OP, *arguments(empty()), impl="sm90")["ways"]}


def changed(plan: bytes, at: int, value: int) -> bytes:
    return plan[: HEADER + at] + value.to_bytes(4, "little") + plan[HEADER + at + 4 :]


def test_a_plan_that_does_not_fit_is_refused_and_nothing_is_written() -> None:
    out = empty()
    plan = opswap.plan(OP, *arguments(out), impl="sm90")
    refused = [
        ("other shapes", opswap.plan(OP, *arguments(empty(3)), impl="sm90"), 0),
        ("made for a card of [0-9]+ SMs, the call may use 1; make another", plan, 1),
        ("is of version 9, this build reads 1", changed(plan, 0, 9), 0),
        ("names a tile that the kernels have not", changed(plan, 8, 99), 0),
        ("cuts another product", changed(plan, 12, 7), 0),
    ]
    for words, bad, budget in refused:
        with pytest.raises(opswap.OpswapError, match=words) as caught:
            opswap.call(OP, *arguments(out), impl="sm90", plan=bad, sm_budget=budget)
        assert caught.value.code == "OPSWAP_E_PLAN"
        assert np.isnan(out.astype(np.float32)).all(), words


def test_a_way_that_the_kernels_have_not_is_refused() -> None:
    for way, words in (("swap 128x9", "no way of this name"), ("128x256", "padding")):
        with pytest.raises(opswap.OpswapError, match=words) as caught:
            opswap.plan_as(OP, way, *arguments(empty()), impl="sm90")
        assert caught.value.code == "OPSWAP_E_PLAN"


def test_a_batch_invariant_call_splits_no_sum() -> None:
    found = opswap.plan_ways(OP, *arguments(empty()), True, impl="sm90", device="H20")
    assert not [way for way in found["ways"] if "split" in way["way"]]
    assert found["ways"][0]["cycles"] >= found["free_cycles"] > 0


ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import opswap
from test_emulated_plans import OP, arguments, empty
sm90 = next(row for row in opswap.why(OP)["impls"] if row["name"] == "sm90")
found = opswap.plan_ways(OP, *arguments(empty()), impl="sm90")
print(json.dumps([opswap.tuned(), found["taken"], found["tuned"], sm90.get("reason", "")]))
"""


def with_file(folder: Path, **parts: Any) -> list[Any]:
    """What a process says that starts with this plan file, and what its call of 5 rows takes."""
    sources = next(row for row in opswap.why(OP)["impls"] if row["name"] == "sm90")["sources"]
    entry = {"key": f"bfloat16 M8 N{N} K{K}", "way": "swap 128x24", "source": "measured", "us": 1.0}
    part = {"op": OP, "implementation": "sm90", "sources": sources, "entries": [entry | parts.pop("entry", {})]}
    (folder / "tuned").mkdir(exist_ok=True)
    (folder / "tuned/H100.json").write_text(json.dumps({"schema": 1, "device": "H100", "ops": [part | parts]}))
    env = {**os.environ, "OPSWAP_STATE_DIR": str(folder), "OPSWAP_EMULATE_DEVICE": "H100"}
    command = [sys.executable, "-c", ASK, str(Path(__file__).parent)]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return list(json.loads(ran.stdout))


def test_a_plan_file_decides_what_a_call_takes(tmp_path: Path) -> None:
    told, taken, tuned, reason = with_file(tmp_path)
    assert (taken, tuned) == ("swap 128x24", True)
    assert len(told["digest"]) == 64
    assert told["files"][0]["ops"][0] | {"remark": ""} == {
        "op": OP,
        "implementation": "sm90",
        "entries": 1,
        "measured": 1,
        "remark": "",
    }
    assert "plan file H100.json" in reason
    assert "1 plans, 1 measured" in reason


def test_a_plan_file_of_other_kernels_is_void(tmp_path: Path) -> None:
    told, taken, tuned, reason = with_file(tmp_path, sources="0" * 64)
    assert taken != "swap 128x24"
    assert not tuned
    assert "tuned for other kernels; run: opswap tune linear --device H100" in told["files"][0]["ops"][0]["remark"]
    assert "void" in reason


def test_what_the_kernels_have_not_refuses_the_file(tmp_path: Path) -> None:
    bad = {
        "is none that the kernels have": {"way": "swap 128x24; rm"},
        "has a key that is none": {"key": "bfloat16 M5 N136 K528"},
        "no source that is modelled or measured": {"source": "guessed"},
        "splits K over more blocks": {"key": "bfloat16 M8 N65536 K1024", "way": "swap 128x24 split 2"},
    }
    for words, entry in bad.items():
        told, taken, tuned, _ = with_file(tmp_path, entry=entry)
        assert (told["digest"], tuned) == ("", False)
        assert taken != "swap 128x24"
        assert words in told["files"][0]["refusal"], told
