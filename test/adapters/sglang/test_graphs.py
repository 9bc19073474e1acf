"""CUDA graphs of SGLang: what they replay, how they are captured anew, and that a replay reads this step's tensors.

No graph is here: the capture itself takes a card. What is tested is what the adapter does around it.
"""

from __future__ import annotations

from types import SimpleNamespace

import opswap
import pytest
from opswap.adapters.common.probe import AdapterRefused, Need
from suite import PROMPTS


class Runner:
    """ModelRunner's part that the adapter uses."""

    def __init__(self, decode: bool, prefill: bool) -> None:
        self.eager_runner = object()
        self.decode_cuda_graph_runner = object() if decode else self.eager_runner
        self.prefill_cuda_graph_runner = object() if prefill else None
        self.captured: list[str] = []

    def recapture_decode_cuda_graph(self) -> None:
        self.captured.append("decode")

    def init_prefill_cuda_graph(self) -> None:
        self.captured.append("prefill")


@pytest.mark.parametrize(
    ("decode", "prefill", "free"),
    [
        (True, True, {"greedy_sample"}),
        (
            False,
            True,
            {"greedy_sample", "paged_attention", "attention_plan", "reshape_and_cache", "reshape_and_cache_fp8"},
        ),
        (True, False, {"greedy_sample"}),
    ],
)
def test_what_is_captured_is_captured_anew(engine, decode, prefill, free):
    from opswap.adapters.sglang.graphs import graphs_of

    runner = Runner(decode, prefill)
    graphs = graphs_of(runner)
    assert {op["op"] for op in opswap.manifest()["ops"]} - graphs.captured == free
    graphs.recapture()
    assert runner.captured == [name for name, holds in (("decode", decode), ("prefill", prefill)) if holds]


def test_without_graphs_every_op_is_free(engine):
    from opswap.adapters.sglang.graphs import graphs_of

    assert graphs_of(Runner(False, False)).captured == graphs_of(engine.runner).captured == frozenset()


def test_an_sglang_that_cannot_capture_anew_refuses_the_switch(engine, monkeypatch):
    from opswap.adapters.sglang import graphs

    lost = Need("sglang.srt.model_executor.model_runner:ModelRunner.gone")
    monkeypatch.setattr(graphs, "GRAPHS", (lost,))
    monkeypatch.setattr(graphs, "WHY_NOT", graphs._why_not())
    found = graphs.graphs_of(Runner(True, True))
    assert found.recapture is None
    assert "ModelRunner.gone does not exist; --disable-cuda-graph serves without graphs" in found.why_not


@pytest.mark.parametrize("page", [1, 16])
def test_a_replay_reads_this_steps_tensors_at_the_captured_addresses(start, tiny_llama, page):
    import torch

    engine = start(tiny_llama, page_size=page)
    engine.generate(PROMPTS, 2)
    backend = engine.runner.attn_backend
    backend.init_cuda_graph_state(4, 4)
    assert backend.get_cuda_graph_seq_len_fill_value() == 1
    rows = engine.runner.req_to_token_pool.req_to_token
    seen = []
    for lengths, in_capture in (([1, 1, 1], True), ([8, 40, 3], False), ([17, 2, 1], False)):
        step = decode_step(torch.tensor(lengths))
        backend.init_forward_metadata_out_graph(step, in_capture)
        replayed = backend.batch
        seen.append((replayed.block_table.data_ptr(), replayed.seq_lens.data_ptr(), replayed.block_table.shape))
        backend.init_forward_metadata(step)
        width = backend.batch.block_table.shape[1]
        assert torch.equal(replayed.block_table[:, :width], backend.batch.block_table)
        assert torch.equal(replayed.block_table[:, 0], (rows[step.req_pool_indices, 0] // page).int())
        assert torch.equal(replayed.seq_lens, backend.batch.seq_lens)
        assert torch.equal(replayed.query_start_loc, backend.batch.query_start_loc)
    assert len(set(seen)) == 1
    with pytest.raises(AdapterRefused, match="take --disable-cuda-graph"):
        backend.init_forward_metadata_out_graph(SimpleNamespace(forward_mode=mode("EXTEND")))


def mode(name: str):
    from sglang.srt.model_executor.forward_batch_info import ForwardMode

    return ForwardMode[name]


def decode_step(lengths) -> SimpleNamespace:
    import torch

    rows = torch.arange(len(lengths))
    return SimpleNamespace(
        batch_size=len(lengths),
        forward_mode=mode("DECODE"),
        req_pool_indices=rows,
        seq_lens=lengths,
        seq_lens_cpu=lengths,
    )
