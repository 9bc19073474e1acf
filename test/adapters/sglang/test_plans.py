"""Plans of attention, made once a step: by the backend's own class, in host memory and by the CPU's code, which looks
at every plan that attention is given."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import opswap
import pytest
import torch
from on_host import OnHost
from opswap.adapters.common import attention_plans, ops
from suite import COUNT, PROMPTS, calls
from test_graphs import decode_step
from test_refusals import like

WORDS = 597
WINDOW = 20


@pytest.fixture
def on_card(engine, monkeypatch):
    """The engine's backend with the plans of one that was built for a card."""
    from opswap.adapters.sglang.layers.attention import OpswapAttnBackend

    def build():
        with OnHost():
            made = OpswapAttnBackend(like(engine.runner, device="cuda"))
        monkeypatch.setattr(attention_plans, "made_here", lambda: True)
        monkeypatch.setattr(engine.runner.attn_backend, "plans", made.plans)
        return engine.runner.attn_backend

    return build


@pytest.fixture
def given(monkeypatch) -> list[tuple[torch.Tensor | None, int]]:
    """The plan and the most new tokens of each call of attention."""
    told, attend = [], ops.paged_attention
    monkeypatch.setattr(ops, "paged_attention", lambda *args: (told.append((args[13], args[15])), attend(*args)))
    return told


def test_a_cpu_makes_none(engine, given):
    assert engine.runner.attn_backend.plans.memory == {}
    opswap.reset_stats()
    engine.generate(PROMPTS, 2)
    assert calls()["attention_plan"] == 0
    assert [(plan, most) for plan, most in given[::2]] == [(None, max(map(len, PROMPTS))), (None, 1)]


def test_every_layer_of_a_step_has_the_steps_plan(engine, on_card, given):
    wanted = engine.generate(PROMPTS, COUNT)
    given.clear()
    (memory,) = on_card().plans.memory.values()
    assert memory.shape == (WORDS + engine.runner.req_to_token_pool.size + 1,)
    opswap.reset_stats()
    assert engine.generate(PROMPTS, COUNT) == wanted
    assert calls()["attention_plan"] == COUNT == calls()["paged_attention"] / 2
    assert {(plan.data_ptr(), *plan.shape) for plan, _ in given} == {(memory.data_ptr(), WORDS + len(PROMPTS))}


@pytest.mark.parametrize(("count", "counted"), [(8, 8), (9, 1)])
def test_a_plan_is_of_the_most_new_tokens(engine, on_card, given, count, counted):
    backend = on_card()
    engine.generate([list(range(3, 3 + count)), [5]], 1)
    (plan,) = backend.batch.plans.values()
    assert plan[5:9].tolist() == [4, 2, counted, -1] and {most for _, most in given} == {count}


def test_layers_of_another_window_have_another_plan(engine, on_card, given, monkeypatch):
    second = engine.runner.model.model.layers[1].self_attn.attn
    monkeypatch.setattr(second, "sliding_window_size", WINDOW - 1)
    wanted = engine.generate(PROMPTS, 3)
    backend = on_card()
    assert {kind.sliding_window for kind in backend.plans.memory} == {-1, WINDOW}
    given.clear()
    assert engine.generate(PROMPTS, 3) == wanted
    assert [int(plan[8]) for plan, _ in given] == [-1, WINDOW] * 3


def test_a_replay_finds_its_steps_plan_at_the_captured_address(on_card):
    backend, seen = on_card(), []
    backend.init_cuda_graph_state(4, 4)
    for lengths, in_capture in (([1, 1, 1], True), ([200, 40, 3], False), ([17, 2, 1], False)):
        step = decode_step(torch.tensor(lengths))
        backend.init_forward_metadata_out_graph(step, in_capture)
        (plan,) = backend.batch.plans.values()
        seen.append((plan.data_ptr(), plan.shape))
        replayed = plan.clone()
        backend.init_forward_metadata(step)
        assert torch.equal(replayed, next(iter(backend.batch.plans.values())))
    assert len(set(seen)) == 1


def test_a_plan_of_another_step_is_refused(engine, on_card, monkeypatch):
    backend = on_card()
    planned = backend._planned
    monkeypatch.setattr(backend, "_planned", lambda batch: spoilt(planned(batch)))
    with pytest.raises(RuntimeError, match=r"OPSWAP_E_PLAN.*is of another number of sequences.*attention_plan"):
        engine.generate(PROMPTS, 1)


def spoilt(batch):
    for plan in batch.plans.values():
        plan[2] += 1
    return batch


def test_more_sequences_than_there_is_memory_for_are_refused(engine, on_card):
    backend = on_card()
    lens = torch.ones(engine.runner.req_to_token_pool.size + 2, dtype=torch.int32)
    with pytest.raises(RuntimeError, match=r"attention_plan: .*P == 597 \+ B"):
        backend._planned(replace(backend.batch, seq_lens=lens, query_start_loc=torch.arange(len(lens) + 1).int()))


@pytest.mark.parametrize(
    ("report", "makes"),
    [
        ({"active": "cpu"}, False),
        ({"active": "cpu", "device_choice": "sm90"}, True),
        ({"active": "sm90"}, True),
        ({"active": "mine"}, True),
    ],
)
def test_where_nothing_plans_on_a_card_each_call_makes_its_own(engine, on_card, given, monkeypatch, report, makes):
    impls = [
        {"name": "cpu", "external": False, "isa": "avx2"},
        {"name": "sm90", "external": False, "isa": "sm_90a"},
        {"name": "mine", "external": True},
    ]
    real = attention_plans.made_here
    on_card()
    monkeypatch.setattr(attention_plans, "made_here", real)
    monkeypatch.setattr(attention_plans, "opswap", SimpleNamespace(why=lambda _op: {**report, "impls": impls}))
    engine.generate(PROMPTS, 1)
    assert [plan is not None for plan, _ in given] == [makes] * 2
