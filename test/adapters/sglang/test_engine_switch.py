"""Two tensor-parallel ranks of a real Engine, switched under load: pages of 16, radix cache, no overlap scheduling.

The server that test/cli runs on has pages of 1 and overlaps.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from checker import epochs_seen, mixed_steps
from opswap.ipc.errors import IpcError
from opswap_loud import calls_of
from served import SMALL, Asked, prepare_environment

PAGE, SWITCHES, TIMEOUT_S = 16, 12, 60.0
ARMS = ("loud", "cpu")
#: Of several pages of the cache.
LONG = [1, *range(3, 60)]


@pytest.fixture(scope="module")
def asked(tmp_path_factory, tiny_llama):
    prepare_environment()
    os.environ["OPSWAP_RUNTIME_DIR"] = str(tmp_path_factory.mktemp("run"))
    import sglang

    asked = Asked(
        sglang.Engine(model_path=str(tiny_llama), tp_size=2, page_size=PAGE, disable_overlap_schedule=True, **SMALL)
    )
    yield asked
    asked.stop()


@pytest.fixture(scope="module")
def attached(asked):
    from opswap.adapters.sglang import attach

    with attach(asked.engine, "two-ranks") as attached:
        yield attached


@pytest.fixture
def use(attached):
    def run(timeout: float = TIMEOUT_S, **changes: str):
        return attached.run(attached.agent.coordinator.use(changes, timeout))

    return run


@pytest.fixture
def call(attached):
    """A method of every rank, by the broadcast unless it may be answered while a step runs."""
    return lambda method, *args: attached.run(attached.agent.engine.ranks.call(method, *args))


def by_rank(answers):
    return sorted(answers, key=lambda answer: answer["rank"])


def test_no_step_mixes_epochs_and_the_ranks_agree(asked, use, call):
    call("trace_start", 1 << 20)
    with asked.load():
        outcomes = [use(silu_and_mul=arm) for arm in ARMS * (SWITCHES // 2)]
    traces = [calls_of(answer) for answer in by_rank(call("steps"))]
    call("trace_start", 0)
    assert all([ack["rank"] for ack in outcome.acks] == [0, 1] for outcome in outcomes)
    assert len(epochs_seen(traces[0]) & {outcome.epoch for outcome in outcomes}) > SWITCHES / 2
    assert mixed_steps(traces) == []


def test_after_a_switch_no_prompt_reads_the_cached_kv_of_another_arm(asked, use):
    pure = {}
    for arm in ARMS:
        use(silu_and_mul=arm)
        pure[arm] = asked.tokens(LONG, 8)
    assert pure["loud"] != pure["cpu"]
    again = asked.ask(LONG, 8).result()
    assert (again["output_ids"], again["meta_info"]["cached_tokens"] >= PAGE) == (pure["cpu"], True)
    for number in range(4):
        arm = ARMS[number % 2]
        use(silu_and_mul=arm)
        told = asked.ask(LONG, 8).result()
        assert (told["output_ids"], told["meta_info"]["cached_tokens"]) == (pure[arm], 0)


def test_running_requests_are_computed_anew_and_lose_no_token(asked, use, attached):
    """Both arms are `ref` and `cpu` of the norm, whose tokens agree: what was switched in the middle reads the same."""
    alone = asked.tokens(LONG, 180)
    running = asked.ask(LONG, 180)  # for long enough to be met by the switch
    while not attached.run(attached.agent.engine.ranks._engine.progress()):
        pass
    told = use(rms_norm="ref").isolation
    assert list(running.result()["output_ids"]) == alone
    assert (told["outcome"], told["requests"], told["reason"]) == ("isolated", 1, "")
    use(rms_norm="cpu")


def test_a_refusing_rank_is_named_and_nothing_changes(use, call, attached):
    before = [answer["choice"] for answer in by_rank(call("status"))]
    call("plant", 1, "planted")
    try:
        with pytest.raises(IpcError, match=r"1 of 2 ranks refused, nothing changed: planted") as refused:
            use(rms_norm="ref")
    finally:
        call("plant", 1, None)
    assert [told["rank"] for told in refused.value.ranks] == [1]
    assert [answer["choice"] for answer in by_rank(call("status"))] == before


def test_questions_and_prepare_wait_for_no_step(call, attached):
    sleeping = threading.Thread(target=lambda: call("sleep", 2.0))
    sleeping.start()
    try:
        for _ in range(3):
            call("status")
        assert sleeping.is_alive()
    finally:
        sleeping.join()


def test_rpc_of_the_users_goes_on_beside_the_agent(asked, use):
    with pytest.raises(AssertionError, match="no_such_method"):
        asked.engine.collective_rpc("no_such_method")
    use(rms_norm="ref")
    use(rms_norm="cpu")


def states(pid: int) -> list[str]:
    """Of each thread of a process; T is stopped."""
    files = Path(f"/proc/{pid}/task").glob("*/stat")
    return [file.read_text().rpartition(")")[2].split()[0] for file in files]


def test_a_silent_rank_is_named(use, call):
    pid = by_rank(call("report"))[1]["pid"]
    os.kill(pid, signal.SIGSTOP)
    while set(states(pid)) != {"T"}:
        time.sleep(0.01)
    try:
        with pytest.raises(IpcError, match=r"prepare: .*no answer of rank 1") as silent:
            use(1.0, rms_norm="ref")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert silent.value.code == "OPSWAP_E_TIMEOUT"
    use(rms_norm="ref")
    use(rms_norm="cpu")
