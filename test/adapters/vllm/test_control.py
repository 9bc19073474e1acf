"""The control path's vLLM side, on stand-ins where no engine is needed: mid-step refusals, endpoint plugin, attach."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
from opswap.adapters.vllm import agent, attach
from opswap.adapters.vllm.worker import WorkerExtension
from opswap.ipc.errors import IpcError


def test_a_rank_between_forward_and_sampling_refuses_to_commit():
    rank = WorkerExtension()
    rank.rank, rank.model_runner = 3, SimpleNamespace(execute_model_state=object())
    answer = rank.opswap_commit(1)
    assert (answer["rank"], answer["ok"], answer["code"]) == (3, False, "OPSWAP_E_BUSY")


def test_several_api_servers_are_refused():
    starting = agent.create().init_state(object(), SimpleNamespace(), Namespace(api_server_count=2, port=1, model="m"))
    with pytest.raises(RuntimeError, match="one API server process, got --api-server-count 2"):
        asyncio.run(starting)


@pytest.mark.parametrize("died_before", [True, False])
def test_an_engine_that_was_asked_to_end_did_not_die(died_before):
    """vLLM says `errored` of both; the real order of its calls was read from its server."""
    client = SimpleNamespace(errored=died_before, calls=[])
    client.shutdown = lambda timeout: (client.calls.append(timeout), setattr(client, "errored", True))
    died = agent.watch_end(client)
    client.shutdown(timeout=0)
    assert client.calls == [0]
    assert client.errored
    assert died() == died_before


def test_vllms_render_server_has_no_agent():
    state = SimpleNamespace()
    asyncio.run(agent.create().init_state(None, state, Namespace()))
    assert not vars(state)


def test_a_refused_agent_leaves_the_engine_as_it_is(eager):
    with attach(eager, "test-taken"), pytest.raises(IpcError):
        attach(eager, "test-taken")
    assert type(eager.llm_engine.engine_core).__name__ != "SharedObject"


def test_an_engine_that_was_killed_under_a_candidate_starts_with_it_barred(eager, tiny_llama):
    """The first engine is another process, with the same model; this one comes after it."""
    import opswap

    script = Path(__file__).with_name("killed_engine.py")
    command = [sys.executable, str(script), str(tiny_llama), "test-killed", "rms_norm", "ref"]
    died = subprocess.run(command, timeout=300, check=False)
    assert died.returncode == -signal.SIGKILL
    with attach(eager, "test-killed") as attached:
        assert attached.agent.restored.outcome == "barred"
        assert opswap.active("rms_norm") == "cpu"
        with pytest.raises(IpcError) as refused:
            attached.run(attached.agent.ask("use", {"changes": [{"op": "rms_norm", "impl": "ref"}]}))
        assert refused.value.code == "OPSWAP_E_BARRED"
        assert attached.run(attached.agent.ask("reset", {}))["lifted"]
