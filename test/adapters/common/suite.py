"""What holds of the tiny Llama in every engine: its tokens, which ops computed them, on which implementation.

An engine's folder imports the tests and brings two fixtures: `served(prompts, count)`, greedy tokens from an engine of
this process that computes everything anew, and `tiny_llama`, the model's folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import opswap
import pytest
from tiny import greedy_tokens

Served = Callable[[list[list[int]], int], list[list[int]]]

PROMPTS = [[1, 5, 9, 33, 77, 200], list(range(3, 60)), [11]]
COUNT = 12
USED_BY_LLAMA = {
    "rms_norm",
    "fused_add_rms_norm",
    "silu_and_mul",
    "rotary_embedding",
    "reshape_and_cache",
    "paged_attention",
    "linear",
    "greedy_sample",
}
#: Composed by paged_attention.
BELOW = {"attention_prefill", "attention_decode"}
#: Of the library and of the engine; a test may have planted others.
OWN = {"ref", "cpu", "composed", "sm90", "framework"}


def demo_model() -> Path:
    """SmolLM2 in fp32; kept beside the environments, so that it is made once per machine."""
    from opswap.adapters.common.demo_model import ensure_model

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    models = Path(os.environ.get("OPSWAP_CACHE", cache / "opswap")) / "models"
    return ensure_model(models / "smollm2-135m-float32", "float32")


def hugging_face_tokens(model: Path, prompts: list[list[int]] = PROMPTS, count: int = COUNT) -> list[list[int]]:
    import torch
    from transformers import AutoModelForCausalLM

    return greedy_tokens(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), prompts, count)


def calls() -> dict[str, int]:
    return {row["op"]: sum(impl["calls"] for impl in row["impls"]) for row in opswap.stats()["ops"]}


def usable(op: str) -> list[str]:
    return [impl["name"] for impl in opswap.why(op)["impls"] if impl["usable"]]


def check_every_implementation(served: Served, ops: set[str], expected: list[list[int]]) -> None:
    """The tokens stay the same with each usable implementation of each op, and it was that one which ran."""
    for op in sorted(ops):
        before = opswap.active(op)
        names = [name for name in usable(op) if name in OWN]
        assert {"ref", before} <= set(names) and len(names) > 1, op
        for name in names:
            opswap.use(op, name)
            try:
                opswap.reset_stats()
                assert served(PROMPTS, COUNT) == expected, (op, name)
                row = next(row for row in opswap.stats()["ops"] if row["op"] == op)
            finally:
                opswap.use(op, before)
            assert {impl["name"] for impl in row["impls"] if impl["calls"]} == {name}


@pytest.fixture(scope="module")
def expected(tiny_llama: Path) -> list[list[int]]:
    return hugging_face_tokens(tiny_llama)


def test_tiny_llama_equals_hugging_face(served: Served, expected: list[list[int]]) -> None:
    opswap.reset_stats()
    assert served(PROMPTS, COUNT) == expected
    counted = calls()
    assert {op for op in USED_BY_LLAMA if counted[op] == 0} == set()


def test_every_layer_and_step_goes_through_the_ops(served: Served) -> None:
    """One prompt of 6 tokens and 4 new ones are 4 steps of 2 layers, exactly."""
    opswap.reset_stats()
    served(PROMPTS[:1], 4)
    steps, layers, counted = 4, 2, calls()
    assert {op: counted[op] for op in sorted(USED_BY_LLAMA)} == {
        "fused_add_rms_norm": steps * layers * 2,
        "greedy_sample": steps,
        "linear": steps * (layers * 4 + 1),
        "paged_attention": steps * layers,
        "reshape_and_cache": steps * layers,
        "rms_norm": steps,
        "rotary_embedding": steps * layers,
        "silu_and_mul": steps * layers,
    }


def test_every_usable_implementation_gives_the_same_tokens(served: Served, expected: list[list[int]]) -> None:
    check_every_implementation(served, USED_BY_LLAMA | BELOW, expected)
