"""The attention backend on FP8 caches and with sinks: an engine with them, and forward() beside exact numbers."""

from __future__ import annotations

from types import SimpleNamespace

import attention_step
import fp8
import numpy as np
import opswap
import pytest
import torch
from opswap import torch_ops
from opswap.adapters.vllm import doctor
from opswap.adapters.vllm.adapter import ADAPTER
from vllm_driver import tokens

TEXT = """Paris is the capital and largest city of France. It lies on the Seine, in the north of the country, and has
been one of the world's major centres of finance, trade, fashion and science since the 17th century. The city is known
for its museums, among them the Louvre, and for the Eiffel Tower, which was built for the World's Fair of 1889. The
capital of France is the city of"""
#: Of log-probabilities of SmolLM2, mean over tokens, beside those of a cache in BF16; twice what was measured.
MOST = {"fp8": 0.17, "fp8_per_token_head": 0.15}


@pytest.fixture(scope="module")
def serve(smollm2, start_llm):
    """By --kv-cache-dtype what a fresh engine says of the text: log-probabilities, greedy tokens, counters, checks."""
    from transformers import AutoTokenizer

    prompt = AutoTokenizer.from_pretrained(smollm2)(TEXT).input_ids

    def served(kind: str) -> SimpleNamespace:
        llm = start_llm(smollm2, dtype="bfloat16", kv_cache_dtype=kind, enforce_eager=True, max_model_len=160)
        opswap.reset_stats()
        told = fp8.vllm_log_probabilities(llm, [prompt])
        (greedy,) = tokens(llm, [prompt], 8)
        calls = {row["op"]: sum(impl["calls"] for impl in row["impls"]) for row in opswap.stats()["ops"]}
        checks = doctor.engine_checks(ADAPTER.state, llm.collective_rpc("opswap_report"))
        return SimpleNamespace(told=told, greedy=greedy, calls=calls, checks={c["name"]: c["state"] for c in checks})

    return served


@pytest.fixture(scope="module")
def in_bf16(serve):
    return serve("bfloat16")


@pytest.mark.parametrize("kind", MOST)
def test_an_fp8_cache_says_nearly_what_one_in_bf16_says(kind, serve, in_bf16):
    found = serve(kind)
    difference = np.abs(found.told - in_bf16.told).mean()
    assert 0 < difference < MOST[kind]
    assert found.greedy[0] == in_bf16.greedy[0] and len(found.greedy) == 8  # Paris, by a wide margin
    assert found.calls["reshape_and_cache_fp8"] == found.calls["paged_attention"] > 0
    assert found.calls["reshape_and_cache"] == found.calls["attention_plan"] == 0 < in_bf16.calls["reshape_and_cache"]
    assert found.checks["in use"] == "ok", found.checks


@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("kind", attention_step.KINDS)
def test_forward_beside_exact_numbers(kind, sinks):
    torch_ops.register()
    loaded = torch.tensor([0.5, -1, 2, 0, 3, -torch.inf], dtype=torch.bfloat16) if sinks else None
    step = attention_step.Step(kind, torch.float32, "cpu", window=40, sinks=loaded)
    found, right = step.run([37, 20, 9, 50], [1, 2, 8, 11])
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)
    assert step.meta.plans == {}
