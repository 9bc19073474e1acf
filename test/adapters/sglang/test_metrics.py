"""Counters of calls and bypasses in the registry that SGLang's /metrics shows."""

from __future__ import annotations

import opswap
import pytest
from suite import PROMPTS, calls


@pytest.fixture
def metered(start, tiny_llama):
    from opswap.adapters.sglang import metrics

    metrics.of_rank.cache_clear()
    yield start(tiny_llama, enable_metrics=True)
    metrics.of_rank.cache_clear()


def value(name: str, **labels: str) -> float:
    from prometheus_client import REGISTRY

    return REGISTRY.get_sample_value(f"opswap:{name}_total", {"rank": "0", **labels}) or 0.0


def test_what_ran_is_counted_and_only_rises(metered, monkeypatch):
    from opswap.adapters.sglang import metrics
    from opswap.adapters.sglang.adapter import ADAPTER

    monkeypatch.setattr(metrics, "PERIOD", 0.0)
    monkeypatch.setattr(ADAPTER.state, "bypassed", {"Sampler calls: rows that are not greedy": 3})
    opswap.reset_stats()
    metered.generate(PROMPTS, 3)
    counters = metrics.of_rank(0)
    counters.look()
    before = value("calls", op="linear", impl="cpu")
    assert before == calls()["linear"] > 0
    assert value("bypassed", layer="Sampler calls", reason="rows that are not greedy") == 3
    opswap.reset_stats()
    metered.generate(PROMPTS, 1)
    counters.look()
    assert value("calls", op="linear", impl="cpu") == before + calls()["linear"]


def test_without_metrics_there_are_none(start, tiny_llama):
    from opswap.adapters.sglang import metrics

    metrics.of_rank.cache_clear()
    start(tiny_llama).generate(PROMPTS, 1)
    assert metrics.of_rank(0) is None
