"""What counts as captured in vLLM's modes of CUDA graphs, which need a card; and that nothing is on a CPU."""

from __future__ import annotations

from types import SimpleNamespace

import opswap
import pytest
from opswap.adapters.vllm.graphs import graphs_of

SAMPLING = {"greedy_sample", "gumbel_sample"}
ATTENTION = {"paged_attention", "attention_plan", "reshape_and_cache", "reshape_and_cache_fp8"}


def worker(mode: object) -> SimpleNamespace:
    return SimpleNamespace(vllm_config=SimpleNamespace(compilation_config=SimpleNamespace(cudagraph_mode=mode)))


@pytest.mark.parametrize(
    ("mode", "free"),
    [
        ("PIECEWISE", SAMPLING | ATTENTION),
        ("FULL", SAMPLING),
        ("FULL_DECODE_ONLY", SAMPLING),
        ("FULL_AND_PIECEWISE", SAMPLING),
    ],
)
def test_ops_within_a_capture_are_captured_and_the_way_out_is_told(mode: str, free: set[str]) -> None:
    from vllm.config import CUDAGraphMode

    graphs = graphs_of(worker(CUDAGraphMode[mode]))
    assert graphs.captured == {op["op"] for op in opswap.manifest()["ops"]} - free
    assert graphs.recapture is None
    assert mode in graphs.why_not and "--enforce-eager" in graphs.why_not


def test_an_engine_on_a_cpu_captures_nothing(compiled: object) -> None:
    from vllm.config import CUDAGraphMode

    config = compiled.llm_engine.vllm_config
    assert config.compilation_config.cudagraph_mode == CUDAGraphMode.NONE
    assert graphs_of(SimpleNamespace(vllm_config=config)).captured == set()
    assert graphs_of(worker(None)).captured == set()
