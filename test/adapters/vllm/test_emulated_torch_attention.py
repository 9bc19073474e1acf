"""The attention backend as on a card: its builder's plan and its forward(), on the emulated kernels for sm_90a.

Without a driver torch cuts no views of a CUDA tensor and gives no workspace. So the backend's tensors lie in host
memory and become the emulated device's where they are handed to an op, by their addresses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import attention_step
import opswap
import pytest
import torch
from on_host import OnHost
from opswap.adapters.common import ops
from vllm import envs

WORDS = 597


def on_device(value: object) -> object:
    if not isinstance(value, torch.Tensor):
        return value
    dtype = str(value.dtype).removeprefix("torch.")
    return opswap.Tensor(value.data_ptr(), dtype, list(value.shape), list(value.stride()), 2, 0)


@pytest.fixture
def called(monkeypatch) -> Iterator[Counter[str]]:
    """How often each op was called; all of them run their CUDA kernels, and the plan's is named."""
    counted: Counter[str] = Counter()

    def on_card(op: str):
        def call(*args: object) -> None:
            counted[op] += 1
            placed = [on_device(value) for value in args]
            room = torch.empty(opswap.workspace_size(op, *placed, impl="sm90"), dtype=torch.uint8)
            opswap.call(op, *placed, impl="sm90", workspace=on_device(room))

        return call

    for op in ("reshape_and_cache", "reshape_and_cache_fp8", "attention_plan", "paged_attention"):
        monkeypatch.setattr(ops, op, on_card(op))
    before = opswap.use("attention_plan", "sm90")
    yield counted
    opswap.use("attention_plan", before)


def step_of(kind: str, **how: object) -> attention_step.Step:
    with OnHost():
        return attention_step.Step(kind, torch.bfloat16, "cuda", **how)


def assert_right(kind: str, found: torch.Tensor, right: torch.Tensor) -> None:
    """Scales of tensors and heads let codes be multiplied: rows of query and probabilities are rounded to FP8 then."""
    if kind in ("plain", "token"):
        torch.testing.assert_close(found, right, rtol=0.016, atol=0.01)
        return
    torch.testing.assert_close(found, right, rtol=0.1, atol=0.08)
    assert torch.linalg.norm(found - right) <= 0.08 * torch.linalg.norm(right)


@pytest.mark.parametrize("kind", attention_step.KINDS)
def test_each_step_makes_a_plan_and_forward_takes_it(kind, called):
    loaded = torch.tensor([0.5, -1, 2, 0, 3, -torch.inf], dtype=torch.bfloat16)
    step = step_of(kind, window=40, sinks=loaded)
    writes = "reshape_and_cache" if kind == "plain" else "reshape_and_cache_fp8"
    found, right = step.run([37, 20, 9, 50], [1, 2, 8, 11])
    assert_right(kind, found, right)
    assert called == {"attention_plan": 2, writes: 2, "paged_attention": 2}


@pytest.mark.parametrize("invariant", [False, True])
@pytest.mark.parametrize(("new", "q_len"), [([1, 1, 1], 1), ([4, 1, 2], 4), ([1, 9, 1], 1)])
def test_a_plan_is_of_the_most_new_tokens_and_stays_where_it_is(new, q_len, invariant, called, monkeypatch):
    monkeypatch.setitem(vars(envs), "VLLM_BATCH_INVARIANT", invariant)
    step = step_of("plain")
    found, right = step.run([300, 20, 70], new)
    torch.testing.assert_close(found, right, rtol=0.016, atol=0.01)
    (plan,) = step.meta.plans.values()
    (memory,) = step.builder.plans.memory.values()
    assert plan.data_ptr() == memory.data_ptr() and plan.shape == (WORDS + 3,)
    assert memory.shape == (WORDS + attention_step.MOST_SEQUENCES,)
    heads = [attention_step.HEADS, attention_step.KV_HEADS]
    assert plan[5:9].tolist() == [*heads, 1 if invariant else q_len, -1] and plan[11] == invariant


def test_a_plan_that_forward_was_given_decides_how_sequences_are_cut(called, monkeypatch):
    """One of other lengths would leave keys out, so the plan that was made is the one that is used."""
    step = step_of("plain")
    build = step.builder.build
    monkeypatch.setattr(step.builder, "build", lambda *args: emptied(build(*args)))
    found, right = step.run([300, 20, 70], [1, 1, 1])
    assert not torch.allclose(found, right, rtol=0.016, atol=0.01)


def emptied(meta):
    """The metadata with a plan of no work at all."""
    for plan in meta.plans.values():
        plan[13:].zero_()
    return meta
