"""How an engine stands is told apart: it starts, it answers, its ranks are silent; and one name is one engine."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ipc_fakes import ENGINE, FakeRanks, client, engine
from opswap.ipc import claim as claim_module
from opswap.ipc import engine as engine_module
from opswap.ipc import folders
from opswap.ipc.agent import Agent
from opswap.ipc.claim import Claim
from opswap.ipc.discovery import Registration, socket_path
from opswap.ipc.engine import AgentInfo
from opswap.ipc.errors import IpcError


def record(folder: Path, name: str = "e") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
    return found


# -- starting ----------------------------------------------------------------------------------------------------------


def test_a_name_is_taken_before_there_is_an_agent_and_handed_to_it(runtime: Path) -> None:
    claim = Claim("engine", "e")
    assert record(runtime)["state"] == "starting"
    with pytest.raises(IpcError) as caught:
        Claim("engine", "e")
    assert caught.value.code == "OPSWAP_E_ENGINE_TAKEN"
    with engine(FakeRanks(), claim=claim), client(runtime / "e.sock") as c:
        assert record(runtime)["state"] == "ready"
        assert c.ask("status")["result"]["unanswered"] is None
    assert not (runtime / "e.json").exists()
    Claim("engine", "e").close()
    assert not (runtime / "e.json").exists()


def test_a_claim_gives_signs_of_life(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_module, "BEAT_S", 0.01)
    claim = Claim("engine", "e")
    os.utime(runtime / "e.json", (0, 0))
    deadline = time.monotonic() + 10
    while (runtime / "e.json").stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (runtime / "e.json").stat().st_mtime > 0
    claim.close()


def test_an_agent_is_starting_until_its_ranks_are_there(runtime: Path) -> None:
    seen = []

    class SlowRanks(FakeRanks):
        async def start(self, _engine: str, _counters: Any) -> None:
            seen.append(record(runtime)["state"])

    with engine(SlowRanks()):
        seen.append(record(runtime)["state"])
    assert seen == ["starting", "ready"]


def test_an_agent_that_does_not_come_up_gives_the_name_back(runtime: Path) -> None:
    class NoRanks(FakeRanks):
        async def start(self, _engine: str, _counters: Any) -> None:
            raise IpcError("OPSWAP_E_TIMEOUT", "no rank came")

    async def start(claim: Claim) -> None:
        native = FakeRanks().natives[0]
        await Agent("e", NoRanks(), AgentInfo(native.version(), native.manifest(), ENGINE), claim).start()

    with pytest.raises(IpcError, match="no rank came"):
        asyncio.run(start(Claim("engine", "e")))
    assert not (runtime / "e.json").exists()
    Claim("engine", "e").close()


# -- silent ranks ------------------------------------------------------------------------------------------------------


def test_an_agent_whose_ranks_are_silent_says_what_it_knows(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "ASK_TIMEOUT_S", 0.05)
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        c.ask("use", changes=[{"op": "rms_norm", "impl": "ref"}])
        ranks.delay = lambda _method: 3600.0
        status = c.ask("status")["result"]
        assert (status["ranks"], status["choice"], status["epoch"]) == ([], {"rms_norm": "ref"}, 1)
        assert status["unanswered"] == "status: not every rank answered in 0.05 s"
        assert c.ask("ops")["error"]["code"] == "OPSWAP_E_TIMEOUT"
        report = c.ask("doctor")["result"]
        assert not report["healthy"]
        assert (report["checks"][0]["name"], report["checks"][0]["state"]) == ("ranks", "fail")
        assert "not every rank answered" in report["checks"][0]["message"]
        ranks.delay = lambda _method: 0.0
        assert len(c.ask("status")["result"]["ranks"]) == 2
        assert c.ask("doctor")["result"]["healthy"]


# -- the folders -------------------------------------------------------------------------------------------------------


@pytest.fixture
def places(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """(this user's folder of a session, the shared one), as a machine with systemd has them."""
    monkeypatch.delenv("OPSWAP_RUNTIME_DIR")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(folders, "SESSIONS", runtime / "run")
    monkeypatch.setattr(folders, "SHARED", runtime)
    user = str(os.geteuid())
    return runtime / "run" / user / "opswap", runtime / f"opswap-{user}"


def test_a_server_takes_the_folder_of_the_session_where_there_is_one(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, shared = places
    assert folders.runtime_dirs() == [shared]
    session.parent.mkdir(parents=True)
    assert folders.runtime_dirs() == [session, shared]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session.parent))
    assert folders.runtime_dirs() == [session, shared]
    claim = Claim("engine", "e")
    assert record(session)["state"] == "starting"
    claim.close()


def test_a_session_that_comes_later_moves_nothing_of_an_engine(places: tuple[Path, Path]) -> None:
    session, shared = places
    claim = Claim("engine", "e")
    session.parent.mkdir(parents=True)
    assert socket_path("e", ".line.sock") == shared / "e.line.sock"
    assert socket_path("other", ".line.sock") == session / "other.line.sock"
    claim.close()


RANK = """
import pathlib, sys
from opswap.ipc import discovery, folders
folders.SESSIONS, folders.SHARED = map(pathlib.Path, sys.argv[1:])
print(discovery.socket_path("e", ".line.sock"))
"""


def test_another_process_of_the_engine_looks_where_the_agent_is(places: tuple[Path, Path]) -> None:
    session, shared = places
    claim = Claim("engine", "e")
    session.parent.mkdir(parents=True)
    command = [sys.executable, "-c", RANK, str(session.parents[1]), str(shared.parent)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert found == str(shared / "e.line.sock")
    claim.close()


def test_a_name_that_runs_in_another_folder_is_taken_there_until_it_ends(places: tuple[Path, Path]) -> None:
    session, shared = places
    first = Claim("engine", "e")
    session.parent.mkdir(parents=True)
    with pytest.raises(IpcError) as caught:
        Registration("engine", "e")
    assert caught.value.code == "OPSWAP_E_ENGINE_TAKEN"
    assert str(shared) in caught.value.message and str(os.getpid()) in caught.value.message
    left = (shared / "e.json").read_bytes()
    first.close()
    (shared / "e.json").write_bytes(left.replace(b'"start_time": "', b'"start_time": "9'))  # of a process that ended
    Registration("engine", "e").close()


def test_what_an_engine_remembers_follows_it_into_another_folder(places: tuple[Path, Path]) -> None:
    session, shared = places
    with engine(FakeRanks()), client(shared / "e.sock") as c:
        assert c.ask("use", changes=[{"op": "rms_norm", "impl": "ref"}])["ok"]
    session.parent.mkdir(parents=True)
    ranks = FakeRanks()
    with engine(ranks), client(session / "e.sock") as c:
        assert c.ask("status")["result"]["restored"]["outcome"] == "restored"
        assert ranks.active("rms_norm") == ["ref", "ref"]
    assert [path.name for path in shared.iterdir()] == ["e.lock"]
    assert (session / "e.state").exists()
