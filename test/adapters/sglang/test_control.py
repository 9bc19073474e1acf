"""What is refused before a server starts, and what a scheduler is asked to forget; without an engine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from opswap.adapters.common.rank import AnsweringRank
from opswap.adapters.sglang import agent, cached_kv, scheduler

SERVER = {
    "pp_size": 1,
    "dp_size": 1,
    "tp_size": 1,
    "nnodes": 1,
    "enable_dp_attention": False,
    "disaggregation_mode": "null",
    "port": 30000,
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pp_size": 2}, "--pp-size is 2: the stages of a pipeline run different steps"),
        ({"nnodes": 2}, "--nnodes is 2"),
        ({"enable_dp_attention": True}, "--enable-dp-attention is True"),
        ({"disaggregation_mode": "decode"}, "--disaggregation-mode is decode"),
    ],
)
def test_a_server_that_cannot_be_switched_is_refused_before_it_loads(changes, told, monkeypatch):
    args = SimpleNamespace(**{**SERVER, **changes})
    with pytest.raises(SystemExit, match=told) as refusal:
        agent.launch_server(lambda _: pytest.fail("it was started"), args)
    assert "OPSWAP_SGLANG_AGENT=off serves without an agent" in str(refusal.value)
    monkeypatch.setenv("OPSWAP_SGLANG_AGENT", "off")
    assert agent.launch_server(lambda _: "started", args) == "started"


def test_a_name_is_taken_while_the_model_loads(tmp_path, monkeypatch):
    monkeypatch.setenv("OPSWAP_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    args = SimpleNamespace(**SERVER)

    def load(_):
        assert [file.name for file in tmp_path.glob("*.json")] == ["sglang-30000.json"]
        with pytest.raises(SystemExit, match="OPSWAP_E_ENGINE_TAKEN"):
            agent.launch_server(lambda _: pytest.fail("a second one was started"), args)
        return "started"

    assert agent.launch_server(load, args) == "started"
    assert list(tmp_path.glob("*.json")) == []


class Scheduler:
    """As far as it is asked to forget; its calls by name."""

    def __init__(self, **changes) -> None:
        self.calls: list[str] = []
        self.grammar_manager = SimpleNamespace(grammar_queue=[])
        self.disaggregation_mode = SimpleNamespace(value="null")
        self.max_queued_requests = 3
        self._engine_paused = False
        self.__dict__.update(changes)

    def pause_generation(self, request) -> None:
        assert self.max_queued_requests is None
        self.calls.append(f"pause {request.mode}")

    def flush_cache(self, empty_cache: bool) -> bool:
        self.calls.append("flush")
        return True

    def continue_generation(self, request) -> None:
        self.calls.append("continue")


def test_running_requests_are_put_back_and_the_cache_is_flushed_in_one_pause():
    asked = Scheduler()
    assert cached_kv.forget(asked)
    assert (asked.calls, asked.max_queued_requests) == (["pause retract", "flush", "continue"], 3)


def test_a_pause_of_the_users_goes_on_and_a_grammar_under_way_is_waited_for():
    paused = Scheduler(_engine_paused=True)
    assert cached_kv.forget(paused)
    assert paused.calls == ["pause retract", "flush"]
    compiling = Scheduler(grammar_manager=SimpleNamespace(grammar_queue=["a request"]))
    assert not cached_kv.forget(compiling)
    assert compiling.calls == []


@pytest.mark.parametrize("name", sorted(cached_kv.BEYOND))
def test_kv_that_is_kept_elsewhere_is_told_and_nothing_is_touched(name):
    asked = Scheduler(**{name: True})
    with pytest.raises(cached_kv.CannotForget, match=cached_kv.BEYOND[name]):
        cached_kv.forget(asked)
    assert asked.calls == []


def test_other_rpc_requests_go_to_sglang():
    request = SimpleNamespace(method="save_sharded_model")
    assert scheduler.handle_rpc_request(lambda *given: given, "scheduler", request) == ("scheduler", request)


@pytest.mark.parametrize("calls", ["", "{}", "[7]", '[["commit", []]]', '[["commit", [7]]]', '[["commit", [["a"]]]]'])
def test_what_is_no_call_ends_no_scheduler(calls):
    rank = AnsweringRank(SimpleNamespace(rank=0))
    request = SimpleNamespace(method=scheduler.METHOD, parameters={"calls": calls})
    assert scheduler.handle_rpc_request(pytest.fail, SimpleNamespace(opswap_rank=rank), request) is None
