"""Plans through torch's operators: what `planned` gives to the calls of one op on one thread."""

from __future__ import annotations

import threading

import opswap
import pytest
import torch
from opswap import torch_ops

OP = "gemm_fp8_block128"
torch_ops.register()


def arguments(rows: int) -> tuple[torch.Tensor, torch.Tensor, None, torch.Tensor, torch.Tensor, None]:
    generator = torch.Generator().manual_seed(rows)
    x = torch.randn(rows, 256, generator=generator).bfloat16()
    weight = torch.randn(128, 256, generator=generator).to(torch.float8_e4m3fn)
    out = torch.full((rows, 128), float("nan"), dtype=torch.bfloat16)
    return out, x, None, weight, torch.full((1, 2), 0.5), None


def called(args: tuple) -> torch.Tensor:
    args[0].fill_(float("nan"))
    torch.ops.opswap.gemm_fp8_block128(*args)
    return args[0].clone()


def test_a_planned_call_says_the_same_and_takes_its_own_plan_alone() -> None:
    two, three = arguments(2), arguments(3)
    plans = [opswap.plan(OP, *args) for args in (two, three)]
    assert all(plans)
    expected = called(two)
    with torch_ops.planned(OP, plans[0]):
        assert torch.equal(called(two), expected)
        with pytest.raises(RuntimeError, match="OPSWAP_E_PLAN"):
            called(three)
        x, weight = torch.ones(2, 64), torch.ones(64)
        torch.ops.opswap.rms_norm(torch.empty_like(x), x, weight)  # another op
    assert called(three).isfinite().all()


def test_a_plan_inside_another_ends_with_its_block_and_holds_on_its_thread() -> None:
    two, three = arguments(2), arguments(3)
    plans = [opswap.plan(OP, *args) for args in (two, three)]
    elsewhere: list[torch.Tensor] = []
    with torch_ops.planned(OP, plans[0]):
        with pytest.raises(ValueError, match="inside"), torch_ops.planned(OP, plans[1]):
            called(three)
            raise ValueError("inside")
        thread = threading.Thread(target=lambda: elsewhere.append(called(three)))
        thread.start()
        thread.join()
        called(two)
        with pytest.raises(RuntimeError, match="OPSWAP_E_PLAN"):
            called(three)
    assert elsewhere[0].isfinite().all()
