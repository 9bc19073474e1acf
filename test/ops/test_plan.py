"""Plans and quantised arguments: what a caller may hand over in place of a shape's work and of two tensors."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import opswap
import pytest

OP = "gemm_fp8_block128"
CODE = {"magic": 4, "version": 4, "call": 8, "size": 8, "reserved": 8}
OWN = sum(CODE.values())
RNG = np.random.default_rng(5)


def values(m: int, n: int = 192, k: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x = RNG.standard_normal((m, k)).astype(ml_dtypes.bfloat16)
    weight = RNG.standard_normal((n, k)).astype(ml_dtypes.float8_e4m3fn)
    scale = RNG.uniform(0.01, 0.1, (-(-n // 128), -(-k // 128))).astype(np.float32)
    return np.full((m, n), np.nan, ml_dtypes.bfloat16), x, weight, scale


def exact(x: np.ndarray, weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    spread = np.repeat(np.repeat(scale, 128, 0), 128, 1)[: weight.shape[0], : weight.shape[1]]
    return x.astype(np.float64) @ (weight.astype(np.float64) * spread).T


def run(out: np.ndarray, x: np.ndarray, weight: np.ndarray, scale: np.ndarray, **options: object) -> np.ndarray:
    opswap.call(OP, out, x, None, weight, scale, None, impl="cpu", **options)
    return out.astype(np.float64)


def planned(out: np.ndarray, x: np.ndarray, weight: np.ndarray, scale: np.ndarray, impl: str = "cpu") -> bytes:
    return opswap.plan(OP, out, x, None, weight, scale, None, impl=impl)


@pytest.mark.parametrize("rows", [1, 8, 9, 40])
def test_a_call_with_its_plan_says_the_same(rows: int) -> None:
    args = values(rows)
    without = run(*args).copy()
    args[0][:] = np.nan
    np.testing.assert_array_equal(run(*args, plan=planned(*args)), without)
    np.testing.assert_allclose(without, exact(*args[1:]), rtol=2e-2, atol=2e-2)


def test_the_plan_decides_the_path() -> None:
    """The path for many rows takes few as well. Sums that cancel show in which order each adds."""
    out, x, weight, scale = values(4, k=256)
    order = RNG.permutation(256)
    x[:, order[128:]] = -x[:, order[:128]]
    weight[:, order[128:]] = weight[:, order[:128]]
    args = (out, x, weight, np.ones_like(scale))
    few = planned(*args)
    many = few[: OWN + 4] + (0).to_bytes(4, "little") + few[OWN + 8 :]
    assert few[OWN + 4] == 1
    results = [run(*args, plan=plan).copy() for plan in (few, many)]
    assert (exact(*args[1:]) == 0).all()
    for result in results:
        np.testing.assert_allclose(result, 0, atol=1e-3)
    assert (results[0] != results[1]).any()


def test_an_implementation_without_plans_makes_none() -> None:
    args = values(2)
    assert planned(*args, impl="ref") == b""
    with pytest.raises(opswap.OpswapError, match="makes none") as caught:
        opswap.call(OP, args[0], args[1], None, *args[2:], None, impl="ref", plan=planned(*args))
    assert caught.value.code == "OPSWAP_E_PLAN"
    assert np.isnan(args[0].astype(np.float32)).all()


def changed(plan: bytes, at: int, to: bytes) -> bytes:
    return plan[:at] + to + plan[at + len(to) :]


def test_a_plan_of_another_call_or_a_cut_or_forged_one_is_refused() -> None:
    args = values(2)
    plan = planned(*args)
    other = planned(*values(3))
    huge = (1 << 62).to_bytes(8, "little")
    bad = {
        "for other shapes": other,
        "size that": plan[:-1],
        "size that opswap": plan + b"x",
        "not one of this version": changed(plan, 4, b"\x02"),
        "is of another version": changed(plan, OWN, b"\x63"),
        "takes the path": changed(plan, OWN + 4, b"\x07"),
        "grain": changed(plan, OWN + 8, huge),
    }
    for words, bytes_ in bad.items():
        with pytest.raises(opswap.OpswapError, match=words) as caught:
            run(*args, plan=bytes_)
        assert caught.value.code == "OPSWAP_E_PLAN"
        assert np.isnan(args[0].astype(np.float32)).all(), words


def test_codes_and_scales_may_be_one_argument() -> None:
    out, x, weight, scale = values(5)
    without = run(out, x, weight, scale).copy()
    out[:] = np.nan
    one = opswap.Quantized(weight, scale, "fp8_block128")
    opswap.call(OP, out, x, None, one, None, None, impl="cpu")
    np.testing.assert_array_equal(out.astype(np.float64), without)
    assert opswap.plan(OP, out, x, None, one, None, None, impl="cpu") == planned(out, x, weight, scale)
    assert next(i for i in opswap.why(OP, out, x, None, one, None, None)["impls"] if i["name"] == "cpu")["usable"]


def test_a_quantised_argument_that_does_not_fit_is_refused() -> None:
    out, x, weight, scale = values(2)
    one, other = (opswap.Quantized(weight, scale, layout) for layout in ("fp8_block128", "fp8_tensor"))
    short = opswap.Quantized(weight, scale[:1], "fp8_block128")
    bad = [
        ("OPSWAP_E_LAYOUT", "'fp8_tensor', needs 'fp8_block128'", OP, (out, x, None, other, None, None)),
        ("OPSWAP_E_ARGUMENT", "is given as well", OP, (out, x, None, one, scale, None)),
        ("OPSWAP_E_ARGUMENT", "argument 1 is quantised", OP, (out, one, None, weight, scale, None)),
        ("OPSWAP_E_ARGUMENT", "argument 1 is quantised", "silu", (out, one)),
        ("OPSWAP_E_ARGUMENT", "B0 is 1", OP, (out, x, None, short, None, None)),
    ]
    for code, words, op, args in bad:
        with pytest.raises(opswap.OpswapError, match=words) as caught:
            opswap.call(op, *args)
        assert caught.value.code == code
    assert np.isnan(out.astype(np.float32)).all()
