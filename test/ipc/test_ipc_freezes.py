"""Freezes: whom they stop, of which ops, and when they end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ipc_clock import PlayedClock
from ipc_fakes import FakeRanks, client, engine
from opswap.ipc.errors import IpcError
from opswap.ipc.freezes import MOST, Freezes
from opswap.ipc.state import StateFile

NOW = 1_700_000_000_000
HOUR = 3_600_000
REF = [{"op": "rms_norm", "impl": "ref"}]
FREEZE = {"name": "launch", "owner": "team", "reason": "launch week", "until_ms": NOW + HOUR, "ops": ["rms_norm"]}


def test_it_stops_everybody_but_its_owner_until_it_ends(runtime: Path) -> None:
    clock = PlayedClock(wall=NOW)
    with engine(FakeRanks(), clock=clock), client(runtime / "e.sock") as c:
        assert c.ask("freeze", **FREEZE)["result"]["freezes"] == [{**FREEZE, "from_ms": NOW}]
        for verb, request in (
            ("use", {"changes": REF}),
            ("reset", {"op": "rms_norm"}),
            ("use", {"changes": REF, "owner": "me"}),
        ):
            error = c.ask(verb, **request)["error"]
            assert error["code"] == "OPSWAP_E_FROZEN"
            assert "rms_norm is frozen by team until 2023-11-14T23:13:20Z (launch): launch week" in error["message"]
            assert "opswap freeze lift launch" in error["remedy"]
        assert c.ask("use", changes=[{"op": "linear", "impl": "ref"}])["ok"]
        assert c.ask("use", changes=REF, owner="team")["ok"]
        assert c.ask("reset", owner="team")["ok"]
        clock.passes(HOUR)
        assert c.ask("use", changes=REF)["ok"]
        assert c.ask("status")["result"]["freezes"] == []


def test_it_outlives_a_restart_and_begins_when_it_says(runtime: Path) -> None:
    clock = PlayedClock(wall=NOW)
    with engine(FakeRanks(), clock=clock), client(runtime / "e.sock") as c:
        c.ask("freeze", **{**FREEZE, "from_ms": NOW + 1000, "ops": []})
        assert c.ask("use", changes=REF)["ok"]
    clock.passes(1000)
    with engine(FakeRanks(), clock=clock), client(runtime / "e.sock") as c:
        assert c.ask("use", changes=REF)["error"]["code"] == "OPSWAP_E_FROZEN"
        assert c.ask("reset")["error"]["code"] == "OPSWAP_E_FROZEN"


def test_only_its_owner_lifts_or_replaces_it(runtime: Path) -> None:
    with engine(FakeRanks(), clock=PlayedClock(wall=NOW)), client(runtime / "e.sock") as c:
        c.ask("freeze", **FREEZE)
        for owner in ({}, {"owner": "me"}):
            assert c.ask("unfreeze", name="launch", **owner)["error"]["code"] == "OPSWAP_E_FROZEN"
        assert c.ask("freeze", **{**FREEZE, "owner": "me"})["error"]["code"] == "OPSWAP_E_FROZEN"
        assert len(c.ask("freeze", **{**FREEZE, "reason": "longer"})["result"]["freezes"]) == 1
        assert "did you mean launch" in c.ask("unfreeze", name="lauch", owner="team")["error"]["message"]
        assert c.ask("unfreeze", name="launch", owner="team")["result"]["freezes"] == []
        assert [event["kind"] for event in c.ask("events")["result"]["events"]] == ["frozen", "frozen", "unfrozen"]


def test_an_override_returns_in_a_freeze_and_is_not_renewed(runtime: Path) -> None:
    clock, ranks = PlayedClock(wall=NOW), FakeRanks()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF, ttl_ms=1000)
        c.ask("freeze", **FREEZE)
        assert c.ask("use", changes=REF, ttl_ms=1000)["error"]["code"] == "OPSWAP_E_FROZEN"
        clock.passes(1000)
        for _ in range(500):
            if ranks.active("rms_norm") == ["cpu"] * 2:
                break
            time.sleep(0.01)
        assert ranks.active("rms_norm") == ["cpu"] * 2


def of() -> Freezes:
    ops: list[dict[str, Any]] = [{"op": "norm"}, {"op": "block", "composes": ["attention"]}, {"op": "linear"}]
    return Freezes({"ops": [*ops, {"op": "attention", "composes": ["norm"]}]})


@pytest.mark.parametrize(
    ("frozen", "op", "holds"),
    [("norm", "norm", True), ("norm", "block", True), ("block", "norm", True), ("norm", "linear", False)],
)
def test_it_holds_what_its_ops_are_made_of_and_what_is_made_of_them(frozen: str, op: str, holds: bool) -> None:
    freezes = of()
    freezes.add({**FREEZE, "from_ms": NOW, "ops": [frozen]}, NOW)
    try:
        freezes.refuse("use", [op], None, NOW)
    except IpcError as error:
        assert (error.code, holds) == ("OPSWAP_E_FROZEN", True)
    else:
        assert not holds


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ops": ["nrm"]}, "OPSWAP_E_NO_OP"),
        ({"until_ms": NOW}, "OPSWAP_E_FIELD"),
        ({"from_ms": NOW + HOUR}, "OPSWAP_E_FIELD"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], code: str) -> None:
    freezes = of()
    with pytest.raises(IpcError) as refused:
        freezes.add({**FREEZE, "from_ms": NOW, "ops": ["norm"], **wrong}, NOW)
    assert (refused.value.code, freezes.kept) == (code, [])


def test_there_are_only_so_many() -> None:
    freezes = of()
    for i in range(MOST):
        freezes.add({**FREEZE, "from_ms": NOW, "ops": [], "name": f"f{i}"}, NOW)
    with pytest.raises(IpcError, match="64 freezes are there"):
        freezes.add({**FREEZE, "from_ms": NOW, "ops": []}, NOW)
    freezes.add({**FREEZE, "from_ms": NOW, "ops": [], "name": "f0"}, NOW)


@pytest.mark.parametrize("is_written", [True, False])
def test_nobody_is_told_of_a_freeze_that_a_kill_would_undo(runtime: Path, is_written: bool) -> None:
    """The state file as it is at the answer is what an engine that is killed then starts with."""
    with engine(FakeRanks()) as agent, client(runtime / "e.sock") as c:
        if not is_written:
            agent.engine.memory.file.path = runtime / "nowhere" / "e.state"
        freeze = {"name": "n", "owner": "team", "reason": "r", "ops": [], "until_ms": 1 << 52}
        told = c.ask("freeze", **freeze)
        kept = StateFile(runtime / "e.state").read().freezes
        assert (told["ok"], [each["name"] for each in kept]) == (is_written, ["n"] if is_written else [])
        if not is_written:
            assert told["error"]["code"] == "OPSWAP_E_IO"
            assert c.ask("use", changes=[{"op": "rms_norm", "impl": "cpu"}])["ok"], "nothing is frozen"
            return
        assert c.ask("unfreeze", name="n", owner="team")["ok"]
        assert StateFile(runtime / "e.state").read().freezes == []
