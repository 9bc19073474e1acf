"""Two tensor-parallel ranks in processes of their own, switched under load: no step mixes, and the checker can tell."""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import opswap
import pytest
from checker import epochs_seen, mixed_steps
from conftest import ENGINE, PROMPTS
from loud_worker import LOUD

COMMITS = 60
TIMEOUT_S = 30.0
SWITCHES = 12
ARMS = (LOUD, "cpu")
ASLEEP_S = 2.0
BLOCK = 16
#: Of several blocks of the cache.
LONG = [1, *range(3, 60)]
TRACE_CALLS = 1 << 20


@pytest.fixture(scope="module")
def two_ranks(tiny_llama):
    """(event loop, AsyncLLM at TP=2, its ranks): engine core and both workers run elsewhere, as under `vllm serve`."""
    from opswap.adapters.common.ranks import EngineRanks
    from opswap.adapters.vllm.agent import ServedEngine
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    changed = {"VLLM_CPU_OMP_THREADS_BIND": "0|1", "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    loop = asyncio.new_event_loop()
    options = {**ENGINE, "tensor_parallel_size": 2, "enforce_eager": True, "block_size": BLOCK}

    async def start() -> AsyncLLM:
        return AsyncLLM.from_engine_args(AsyncEngineArgs(model=str(tiny_llama), **options))

    try:
        engine = loop.run_until_complete(start())
        loop.run_until_complete(engine.collective_rpc("opswap_test_add_loud"))
        group = EngineRanks(ServedEngine(engine))
        loop.run_until_complete(group.start("two-ranks", Counter()))
        yield loop, engine, group
        loop.run_until_complete(group.stop())
        engine.shutdown()
        loop.run_until_complete(end_tasks())
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        loop.close()


async def end_tasks() -> None:
    """vLLM leaves its output tasks to a loop that ends with the process; this one ends before."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def tokens(engine, prompt: list[int], count: int, name: str) -> list[int]:
    from vllm import SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True, detokenize=False)
    last = [out async for out in engine.generate({"prompt_token_ids": prompt}, greedy, name)][-1]
    return list(last.outputs[0].token_ids)


class Load:
    """Requests that never stop coming, so that every commit meets running ones."""

    def __init__(self, engine) -> None:
        self.engine = engine
        self.finished = 0
        self._running = True

    async def client(self, number: int) -> None:
        while self._running:
            await tokens(self.engine, [1, 5, 9, 33, number], 40, f"load-{number}-{self.finished}")
            self.finished += 1

    async def __aenter__(self):
        self._clients = [asyncio.create_task(self.client(number)) for number in range(3)]
        await asyncio.sleep(0.2)
        return self

    async def __aexit__(self, *_):
        self._running = False
        await asyncio.gather(*self._clients)


def coordinator(group):
    from opswap.ipc.coordinator import Coordinator

    versions = {op["op"]: op["version"] for op in opswap.manifest()["ops"]}
    return Coordinator(group, opswap.version()["build_digest"], versions)


async def traces(engine) -> list[list[dict]]:
    """The whole trace of each rank; it is read in pages, because the library hands out so many calls at a time."""
    ranks: list[list[dict]] = [[], []]
    while True:
        after = [trace[-1]["sequence"] if trace else 0 for trace in ranks]
        pages = await engine.collective_rpc("opswap_trace", args=(min(after),))
        news = [[c for c in page if c["sequence"] > seen] for page, seen in zip(pages, after, strict=True)]
        if not any(news):
            return ranks
        for trace, page in zip(ranks, news, strict=True):
            trace.extend(page)


async def switch_under_load(engine, group, commits: int) -> tuple[list, list[list[dict]], int]:
    ranks = coordinator(group)
    await engine.collective_rpc("opswap_trace_start", args=(TRACE_CALLS,))
    outcomes = []
    async with Load(engine) as load:
        for count in range(commits):
            outcomes.append(
                await ranks.use(
                    {"silu_and_mul": ("ref", "cpu")[count % 2], "rms_norm": ("ref", "cpu")[count % 2]}, TIMEOUT_S
                )
            )
            await asyncio.sleep(0.01)
    recorded = await traces(engine)
    await engine.collective_rpc("opswap_trace_start", args=(0,))
    return outcomes, recorded, load.finished


def test_tokens_equal_those_of_one_rank(two_ranks, eager, generate):
    loop, engine, _ = two_ranks

    async def all_prompts() -> list[list[int]]:
        return [await tokens(engine, prompt, 12, f"agree-{i}") for i, prompt in enumerate(PROMPTS)]

    assert loop.run_until_complete(all_prompts()) == generate(eager)


def test_no_step_mixes_while_ranks_are_switched_under_load(two_ranks):
    loop, engine, group = two_ranks
    outcomes, recorded, finished = loop.run_until_complete(switch_under_load(engine, group, COMMITS))
    assert len(outcomes) == COMMITS
    assert all({ack["step"] for ack in outcome.acks} == {outcome.step} for outcome in outcomes)
    assert finished > 0
    assert [{call["rank"] for call in trace} for trace in recorded] == [{0}, {1}]
    assert epochs_seen(recorded[0]) == epochs_seen(recorded[1])
    # Nearly every commit met a running step: were the engine idle in between, its epoch would be in no trace.
    assert len(epochs_seen(recorded[0])) > COMMITS * 0.9
    assert mixed_steps(recorded) == []


def test_a_switch_changes_the_tokens_of_both_ranks(two_ranks):
    loop, engine, group = two_ranks

    async def compare() -> tuple[list[int], list[int], list[int]]:
        ranks = coordinator(group)
        before = await tokens(engine, PROMPTS[0], 12, "before")
        await ranks.use({"silu_and_mul": LOUD}, TIMEOUT_S)
        loud = await tokens(engine, PROMPTS[0], 12, "loud")
        await ranks.use({"silu_and_mul": "cpu"}, TIMEOUT_S)
        return before, loud, await tokens(engine, PROMPTS[0], 12, "after")

    before, loud, after = loop.run_until_complete(compare())
    assert before != loud
    assert before == after


async def tokens_after_switches(engine, group, neutral: str | None) -> list[tuple[list[int], list[int]]]:
    """Under load, after each of SWITCHES switches between two arms: the tokens of a prompt that the arm before has
    cached, beside those which this arm gives it when nothing is cached."""
    ranks, rows = coordinator(group), []
    pure = {}
    for arm in ARMS:
        await ranks.use({"silu_and_mul": arm}, TIMEOUT_S)
        pure[arm] = await tokens(engine, LONG, 12, f"pure-{arm}-{neutral}")
    async with Load(engine):
        for count in range(SWITCHES):
            arm = ARMS[count % 2]
            await ranks.use({"silu_and_mul": arm}, TIMEOUT_S, neutral)
            rows.append((await tokens(engine, LONG, 12, f"after-{count}-{neutral}"), pure[arm]))
    await ranks.use({"silu_and_mul": "cpu"}, TIMEOUT_S)
    return rows


def test_no_request_reads_cached_kv_of_another_arm(two_ranks):
    loop, engine, group = two_ranks
    rows = loop.run_until_complete(tokens_after_switches(engine, group, None))
    assert rows[0][1] != rows[1][1]
    assert [got for got, _ in rows] == [pure for _, pure in rows]
    assert group.isolation["outcome"] == "isolated"


def test_a_neutral_switch_keeps_cached_kv_so_the_check_above_can_fail(two_ranks):
    loop, engine, group = two_ranks
    rows = loop.run_until_complete(tokens_after_switches(engine, group, "planted: it is not"))
    assert any(got != pure for got, pure in rows)


def test_running_requests_are_recomputed_counted_and_lose_no_token(two_ranks):
    """Both arms are `ref` and `cpu` of the norm, whose tokens agree: what was switched in the middle reads the same."""
    loop, engine, group = two_ranks

    async def run() -> tuple[list[int], list[int], dict]:
        ranks = coordinator(group)
        alone = await tokens(engine, LONG, 60, "alone")
        running = asyncio.create_task(tokens(engine, LONG, 60, "switched"))
        while not await group._engine.progress():
            await asyncio.sleep(0.001)
        outcome = await ranks.use({"rms_norm": "ref"}, TIMEOUT_S)
        switched = await running
        while group.isolation["recomputed_ms"] is None:
            await asyncio.sleep(0.01)
        await ranks.use({"rms_norm": "cpu"}, TIMEOUT_S)
        return alone, switched, outcome.isolation

    alone, switched, isolation = loop.run_until_complete(asyncio.wait_for(run(), TIMEOUT_S))
    assert switched == alone
    assert (isolation["outcome"], isolation["requests"]) == ("isolated", 1)


def test_questions_and_prepare_wait_for_no_step(two_ranks):
    """The ranks sleep in a step of theirs; what is asked on the direct line is answered meanwhile."""
    loop, engine, group = two_ranks

    async def run() -> tuple[bool, list[dict]]:
        sleeping = asyncio.create_task(engine.collective_rpc("opswap_test_sleep", args=(ASLEEP_S,)))
        await asyncio.sleep(0.05)
        answers = [*await group.call("status"), *await group.call("why", "rms_norm")]
        before = not sleeping.done()
        await sleeping
        return before, answers

    before, answers = loop.run_until_complete(run())
    assert [answer["ok"] for answer in answers] == [True] * 4
    assert before


def test_a_planted_skewed_commit_is_caught(two_ranks):
    """Rank 1 commits in the middle of a step, and rank 0 does not: the same checker must not call this clean."""
    loop, engine, group = two_ranks

    async def plant() -> list[list[dict]]:
        ranks = coordinator(group)
        await ranks.use({"silu_and_mul": LOUD}, TIMEOUT_S)
        versions = ranks.op_versions
        epoch = ranks.epoch + 1
        await ranks.ranks.call("prepare", epoch, {"rms_norm": "ref"}, ranks.build_digest, versions)
        await engine.collective_rpc("opswap_trace_start", args=(TRACE_CALLS,))
        await engine.collective_rpc("opswap_test_plant_skew", args=(epoch,))
        await tokens(engine, PROMPTS[0], 6, "planted")
        recorded = await traces(engine)
        await engine.collective_rpc("opswap_trace_start", args=(0,))
        await ranks.ranks.call("commit", epoch)
        await ranks.use({"silu_and_mul": "cpu", "rms_norm": "cpu"}, TIMEOUT_S)
        return recorded

    found = mixed_steps(loop.run_until_complete(plant()))
    assert any("rank 1 ran step" in sentence for sentence in found)
    assert any("the ranks ran step" in sentence for sentence in found)
