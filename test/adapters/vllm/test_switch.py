"""A live switch really reroutes, eager and compiled; a refused one leaves the old kernel running."""

from __future__ import annotations

import asyncio

import opswap
import pytest
from loud_worker import LOUD
from opswap.adapters.common.offline import Attached
from opswap.adapters.vllm import attach
from opswap.ipc.errors import IpcError


@pytest.fixture(params=["eager", "compiled"])
def llm(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def attached(llm):
    with attach(llm, "test-engine") as attached:
        yield attached


def use(attached: Attached, **changes: str) -> dict:
    """The verb `use`, run on the agent's own loop."""
    wanted = {"changes": [{"op": op, "impl": impl} for op, impl in changes.items()]}
    return attached.run(attached.agent.ask("use", wanted))


def test_the_switch_reroutes_and_comes_back(llm, attached, generate):
    before = generate(llm)
    acknowledged = use(attached, silu_and_mul=LOUD)
    loud = generate(llm)
    assert all(a != b for a, b in zip(before, loud, strict=True))
    assert acknowledged["acks"][0]["previous"] == {"silu_and_mul": "cpu"}
    assert acknowledged["acks"][0]["applied"] == "live"
    use(attached, silu_and_mul="cpu")
    assert generate(llm) == before


def test_compiled_ops_run_on_the_frameworks_own_kernel(compiled, generate):
    """As test/adapters/common shows of the eager engine: what inductor has compiled is switched too."""
    ops = ["rms_norm", "fused_add_rms_norm", "silu_and_mul", "rotary_embedding", "linear", "greedy_sample"]
    before, active = generate(compiled), {op: opswap.active(op) for op in ops}
    with attach(compiled, "test-framework") as attached:
        use(attached, **dict.fromkeys(ops, "framework"))
        opswap.reset_stats()
        try:
            assert generate(compiled) == before
            used = {row["op"]: {i["name"] for i in row["impls"] if i["calls"]} for row in opswap.stats()["ops"]}
            assert [used[op] for op in ops] == [{"framework"}] * len(ops)
        finally:
            use(attached, **active)


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"silu_and_mul": "cpuu"}, "OPSWAP_E_NO_IMPL", "did you mean"),
        ({"silu_and_mull": "cpu"}, "OPSWAP_E_NO_OP", "silu_and_mul"),
        ({"paged_attention": "framework"}, "OPSWAP_E_UNUSABLE", "no attention kernel"),
        ({"silu_and_mul": LOUD, "gumbel_sample": "framework"}, "OPSWAP_E_UNUSABLE", "generators"),
    ],
)
def test_a_refused_switch_changes_nothing(eager, generate, changes, code, told):
    before = generate(eager)
    active = {op["op"]: opswap.active(op["op"]) for op in opswap.manifest()["ops"]}
    with attach(eager, "test-refusals") as attached, pytest.raises(IpcError) as refusal:
        use(attached, **changes)
    assert refusal.value.code == code
    assert told in refusal.value.message
    assert {op["op"]: opswap.active(op["op"]) for op in opswap.manifest()["ops"]} == active
    assert generate(eager) == before


def test_a_switch_while_the_offline_engine_generates(eager, generate):
    """The agent gets its turn between two steps of a busy engine, and the calls say at which."""
    eager.collective_rpc("opswap_trace_start", args=(1 << 16,))
    with attach(eager, "test-busy") as attached:

        async def switch_often() -> int:
            for count in range(10):
                await attached.agent.ask("use", {"changes": [{"op": "rms_norm", "impl": ("ref", "cpu")[count % 2]}]})
                await asyncio.sleep(0.002)
            return attached.agent.coordinator.epoch

        switching = asyncio.run_coroutine_threadsafe(switch_often(), attached._loop)
        tokens = [generate_busy(eager) for _ in range(3)]
        last = switching.result(60)
    trace = eager.collective_rpc("opswap_trace")[0]
    eager.collective_rpc("opswap_trace_start", args=(0,))
    from checker import epochs_seen, mixed_steps

    assert mixed_steps([trace]) == []
    assert len(epochs_seen(trace)) > 2
    assert last >= 10
    assert tokens[0] == tokens[1] == tokens[2]


def generate_busy(llm) -> list[list[int]]:
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=60, ignore_eos=True, detokenize=False)
    prompts = [{"prompt_token_ids": [1, 5, 9, 33, 77, number]} for number in range(10, 14)]
    return [list(o.outputs[0].token_ids) for o in llm.generate(prompts, greedy, use_tqdm=False)]
