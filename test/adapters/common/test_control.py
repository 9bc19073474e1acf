"""What every adapter's control path does: the reset of the prefix cache, and the turnstile of offline engines."""

from __future__ import annotations

import asyncio
import threading
import time
from argparse import Namespace
from collections import Counter

import pytest
from adapters_here import ALL, adapter
from opswap.adapters.common import offline, prefix_cache, ranks
from opswap.adapters.common.agent import engine_name, url_of
from opswap.adapters.common.offline import Turnstile
from opswap.adapters.common.rank import AnsweringRank
from opswap.ipc.answers import Ticket
from opswap.ipc.errors import IpcError


class BusyEngine:
    """Refuses to forget cached KV as many times as it is told; `running` are its requests, with their tokens so far."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.calls = []
        self.running = {}

    async def broadcast(self, method, args):
        self.calls.append(method)
        await asyncio.sleep(0)
        return [{"rank": 0, "ok": args != (13,), "method": method}]

    async def reset_prefix_cache(self) -> bool:
        self.refusals -= 1
        self.calls.append("reset")
        return self.refusals < 0

    async def progress(self):
        return dict(self.running)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(prefix_cache, "RETRY_S", 0.01)


def test_the_commit_and_the_isolation_are_sent_before_either_is_answered():
    """Nothing of the engine's comes in between, so no step runs with new kernels on what old ones have cached."""

    async def run():
        engine = BusyEngine()
        group = ranks.EngineRanks(engine)
        await group.call("prepare", 1)
        assert group.isolation is None
        await group.commit(1, None)
        return engine.calls, group.isolation

    calls, told = asyncio.run(run())
    assert calls == ["prepare", "commit", "reset"]
    assert (told["epoch"], told["outcome"], told["reason"]) == (1, "isolated", "")


def test_an_engine_that_refuses_is_asked_again_until_it_forgets():
    async def run():
        group = ranks.EngineRanks(BusyEngine(refusals=3))
        await group.commit(1, None)
        pending, told = group.cache_pending, group.isolation
        await asyncio.sleep(0.2)
        return pending, told, group.cache_pending, group.isolation["outcome"]

    pending, told, later, outcome = asyncio.run(run())
    assert (pending, later, outcome) == (True, False, "isolated")
    assert told["outcome"] == "pending"
    assert "asked again" in told["reason"]


def test_a_neutral_switch_keeps_cached_kv_and_its_reason():
    async def run():
        engine = BusyEngine()
        group = ranks.EngineRanks(engine)
        await group.commit(1, "bit-equal here")
        return engine.calls, group.isolation

    calls, told = asyncio.run(run())
    assert calls == ["commit"]
    assert (told["outcome"], told["reason"], told["recomputed_ms"]) == ("neutral", "bit-equal here", 0.0)


def test_running_requests_are_counted_and_watched_until_each_has_its_next_token():
    async def run():
        engine = BusyEngine()
        engine.running = {"a": 3, "b": 7}
        group = ranks.EngineRanks(engine)
        await group.commit(1, None)
        await asyncio.sleep(0.03)
        engine.running = {"a": 4, "b": 7}
        await asyncio.sleep(0.03)
        during = group.isolation
        engine.running = {"a": 9}
        await asyncio.sleep(0.03)
        return during, group.isolation

    during, after = asyncio.run(run())
    assert (during["requests"], during["recomputed_ms"]) == (2, None)
    assert (after["requests"], after["recomputed_ms"] > 0) == (2, True)


def test_a_refused_commit_is_no_switch_of_cached_kv():
    async def run():
        group = ranks.EngineRanks(BusyEngine())
        await group.commit(1, None)
        await group.commit(13, None)
        return group.isolation["epoch"]

    assert asyncio.run(run()) == 1


def test_ranks_that_open_no_line_are_asked_by_the_broadcast_and_that_is_told(monkeypatch, tmp_path, caplog):
    async def run():
        engine = BusyEngine()
        group = ranks.EngineRanks(engine)
        await group.start("e", Counter())
        try:
            await group.call("status")
        finally:
            await group.stop()
        return engine.calls

    monkeypatch.setenv("OPSWAP_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(ranks, "ASK_TIMEOUT_S", 0.05)
    tmp_path.chmod(0o700)
    assert asyncio.run(run()) == ["listen", "status"]
    assert "not each of 1 ranks has opened its direct line" in caplog.text


class FailingEngine(BusyEngine):
    """Raises at first, as an engine whose core does not answer."""

    async def reset_prefix_cache(self) -> bool:
        if not await super().reset_prefix_cache():
            raise RuntimeError("the core does not answer")
        return True


def test_an_isolation_that_fails_spoils_no_commit_and_stays_pending_until_it_is_done():
    async def run():
        group = ranks.EngineRanks(FailingEngine(refusals=3))
        acks = await group.commit(1, None)
        pending, told = group.cache_pending, group.isolation
        await asyncio.sleep(0.2)
        return acks, pending, told["reason"], group.cache_pending

    acks, pending, reason, later = asyncio.run(run())
    assert [ack["ok"] for ack in acks] == [True]
    assert (pending, later) == (True, False)
    assert "the core does not answer" in reason


def test_a_switch_that_runs_out_of_time_during_the_isolation_leaves_it_pending():
    class SlowEngine(BusyEngine):
        async def reset_prefix_cache(self) -> bool:
            await asyncio.sleep(0.05)
            return True

    async def run() -> list[bool]:
        group = ranks.EngineRanks(SlowEngine())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(group.commit(1, None), 0.01)
        pending = group.cache_pending
        await asyncio.sleep(0.2)
        return [pending, group.cache_pending]

    assert asyncio.run(run()) == [True, False]


def test_a_method_whose_result_is_no_map_becomes_a_refusal(monkeypatch):
    class Listing:
        rank = 1

        def opswap_trace(self) -> list[int]:
            return [1, 2]

    rank, sent = AnsweringRank(Listing()), []
    monkeypatch.setattr(rank._sender, "send", lambda ticket, answer: sent.append((ticket, answer)))
    ticket = Ticket("e", "a", "trace", 1)
    rank.receive("trace", (list(ticket),))
    ((to, answer),) = sent
    assert (to, answer["rank"], answer["ok"], answer["code"]) == (ticket, 1, False, "OPSWAP_E_UNEXPECTED")


@pytest.mark.parametrize(("answers", "code"), [(None, "OPSWAP_E_TIMEOUT"), ("refused", "OPSWAP_E_ABI")])
def test_a_report_that_a_rank_does_not_give_is_an_error_that_says_so(monkeypatch, answers, code):
    class SilentEngine(BusyEngine):
        async def broadcast(self, _method, _args):
            if answers is None:
                await asyncio.Event().wait()
            return [{"rank": 0, "ok": False, "code": "OPSWAP_E_ABI", "reason": answers}]

    monkeypatch.setattr(ranks, "ASK_TIMEOUT_S", 0.02)
    with pytest.raises(IpcError) as refused:
        asyncio.run(asyncio.wait_for(ranks.EngineRanks(SilentEngine(0)).reports(), 5))
    assert refused.value.code == code


class StubAgent:
    """Starts and stops as a test says."""

    def __init__(self, start, stop) -> None:
        self.start, self.stop = start, stop


async def nothing() -> None:
    pass


def test_an_agent_that_cannot_be_ended_gives_the_engine_back_all_the_same():
    async def fail() -> None:
        raise OSError("the socket is gone")

    held = []
    attached = offline.Attached(StubAgent(nothing, fail), lambda: held.append("held"), held.clear)
    assert held == ["held"]
    with pytest.raises(OSError, match="gone"):
        attached.stop()
    assert held == []
    attached.stop()


def test_an_agent_that_does_not_start_in_time_cleans_up_before_the_engine_is_given_back(monkeypatch):
    told = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cleaned")

    monkeypatch.setattr(offline, "TIMEOUT_S", 0.05)
    with pytest.raises(asyncio.TimeoutError):
        offline.Attached(StubAgent(endless, nothing), lambda: None, lambda: told.append("released"))
    assert told == ["cleaned", "released"]


def test_the_agent_gets_through_a_busy_turnstile():
    turnstile = Turnstile()
    running, served = True, []

    def owner() -> None:
        while running:
            with turnstile.owner(), turnstile.owner():  # one engine call makes another
                time.sleep(0.001)

    thread = threading.Thread(target=owner)
    thread.start()
    for number in range(20):
        with turnstile.guest():
            served.append(number)
    running = False
    thread.join(10)
    assert served == list(range(20))


@pytest.mark.parametrize("each", [adapter(name) for name in ALL], ids=ALL)
def test_names_of_engines(each, monkeypatch):
    monkeypatch.delenv("OPSWAP_ENGINE_NAME", raising=False)
    assert [engine_name(each, port) for port in (8000, None)] == [f"{each.package}-8000", f"{each.package}-local"]
    monkeypatch.setenv("OPSWAP_ENGINE_NAME", "chat")
    assert engine_name(each, 1) == "chat"


@pytest.mark.parametrize(
    ("args", "url"),
    [
        ({"host": "127.0.0.1", "port": 8000}, "http://127.0.0.1:8000"),
        ({"host": None, "port": 8000}, "http://127.0.0.1:8000"),
        ({"host": "::", "port": 8000}, "http://127.0.0.1:8000"),
        ({"host": "::1", "port": 8000}, "http://[::1]:8000"),
        ({"host": "10.1.2.3", "port": 8000}, "http://10.1.2.3:8000"),
        ({"host": None, "port": 8000, "ssl_certfile": "x.pem"}, None),
        ({"port": 8000, "uds": "x.sock"}, None),
        ({}, None),
    ],
)
def test_where_a_server_answers(args, url):
    assert url_of(Namespace(**args)) == url
