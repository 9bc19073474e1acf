"""Panic: what each op goes to, what ends with it, and what does not stop it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ipc_clock import PlayedClock
from ipc_fakes import DIGEST, FakeError, FakeRanks, client, engine
from opswap.ipc import engine as engine_module
from opswap.ipc.panic import goal_of
from opswap.ipc.state import Record, StateFile

REF = [{"op": "rms_norm", "impl": "ref"}]
OPS = ["linear", "rms_norm", "silu_and_mul"]


def why(active: str, *usable: str) -> dict[str, Any]:
    impls = [{"name": name, "usable": name in usable} for name in ("cpu", "ref", "framework", "composed")]
    return {"active": active, "impls": impls}


ALL = ("cpu", "ref", "composed")


@pytest.mark.parametrize(
    ("ranks", "record", "at_load", "to"),
    [
        ([why("cpu", *ALL, "framework")] * 2, {}, {}, "framework"),
        ([why("ref", *ALL, "framework"), why("ref", *ALL)], {}, {"op": "cpu"}, "cpu"),
        ([why("cpu", *ALL)], {"proven": {"op": ["ref", "composed"]}}, {"op": "cpu"}, "cpu"),
        ([why("ref", *ALL)], {"proven": {"op": ["composed", "ref"]}}, {"op": "cpu"}, "composed"),
        (
            [why("ref", *ALL)],
            {"proven": {"op": ["composed"]}, "barred": {"op": {"composed": "died"}}},
            {"op": "cpu"},
            "cpu",
        ),
        ([why("ref", *ALL)], {"proven": {"op": ["cpu"]}, "trial": {"op": "ref"}}, {"op": "composed"}, "cpu"),
        ([why("ref", *ALL, "framework")], {"barred": {"op": {"framework": "died"}}}, {"op": "cpu"}, "cpu"),
        ([why("ref", "ref")], {"proven": {"op": ["composed"]}}, {"op": "cpu"}, "ref"),
        ([why("cpu", *ALL), why("ref", *ALL)], {}, {"op": "cpu"}, "cpu"),
    ],
)
def test_an_op_goes_to_the_best_that_can_run_everywhere(
    ranks: list[dict[str, Any]], record: dict[str, Any], at_load: dict[str, str], to: str
) -> None:
    assert goal_of("op", ranks, Record("m", "b", **record), at_load).to == to


def test_all_ops_go_to_the_framework_at_one_step_and_all_else_ends(runtime: Path) -> None:
    ranks = FakeRanks()
    for native in ranks.natives:
        native.impls["linear"]["framework"] = "it has none"
        native.chosen["silu_and_mul"] = "framework"
    ranks.natives[1].watched = {"shadow": {"rms_norm"}, "recording": {"linear"}}
    with engine(ranks, clock=PlayedClock()), client(runtime / "e.sock") as c:
        c.ask("use", changes=[{"op": "linear", "impl": "ref"}])
        c.ask("use", changes=REF, ttl_ms=5000, owner="ab")
        far = PlayedClock().wall + 10**9
        c.ask("freeze", name="all", owner="team", reason="no", until_ms=far, ops=[])
        done = c.ask("panic", reason="NaNs")["result"]
        assert {row["op"]: (row["from"], row["to"]) for row in done["ops"]} == {
            "rms_norm": ("ref", "framework"),
            "linear": ("ref", "cpu"),
            "silu_and_mul": ("framework", "framework"),
        }
        assert (done["epoch"], len(done["acks"])) == (3, 2)
        assert sorted(change["op"] for change in done["changes"]) == ["linear", "rms_norm"]
        assert [row["op"] for row in done["overrides"]] == ["rms_norm"]
        assert (done["shadows"], done["recordings"], done["trouble"]) == (["rms_norm"], ["linear"], [])
        assert done["isolation"]["outcome"] == "isolated"
        status = c.ask("status")["result"]
        assert (status["overrides"], status["choice"]["rms_norm"]) == ([], "framework")
        event = c.ask("events")["result"]["events"][-1]
        assert (event["kind"], event["reason"], event["to"]) == (
            "panic",
            "NaNs",
            {"rms_norm": "framework", "linear": "cpu"},
        )
        again = c.ask("panic")["result"]
        assert (again["epoch"], again["acks"], again["changes"]) == (3, [], [])
    assert ranks.active("rms_norm") == ["framework"] * 2
    assert StateFile(runtime / "e.state").load()[0].choice["rms_norm"] == "framework"


def test_it_works_where_nothing_can_be_kept_and_says_so(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks) as agent, client(runtime / "e.sock") as c:
        agent.engine.memory.file.path = runtime / "nowhere" / "e.state"
        done = c.ask("panic")["result"]
        assert ranks.active("rms_norm") == ["framework"] * 2
        assert "cannot be written, so a restart will not know of it" in done["trouble"][0]


def test_it_works_where_the_state_could_not_be_read(runtime: Path) -> None:
    (runtime / "e.state").write_text("{")
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF)
        assert c.ask("panic")["ok"]
    assert ranks.active("rms_norm") == ["framework"] * 2


def test_an_op_that_a_rank_refuses_keeps_no_other(runtime: Path) -> None:
    ranks = FakeRanks()

    def refuse(op: str, impl: str) -> None:
        if (op, impl) == ("linear", "framework"):
            raise FakeError("OPSWAP_E_UNUSABLE", "not this one")

    for native in ranks.natives:
        native.on_use = refuse
    with engine(ranks), client(runtime / "e.sock") as c:
        done = c.ask("panic")["result"]
        assert "linear still runs cpu" in done["trouble"][0]
        assert done["refused"] == ["linear"]
        assert len(done["ops"]) == 3
        assert len(c.ask("status")["result"]["ranks"]) == 2
    assert ranks.active("rms_norm") == ranks.active("silu_and_mul") == ["framework"] * 2
    assert ranks.active("linear") == ["cpu"] * 2


def test_where_a_goal_is_refused_the_next_best_is_taken(runtime: Path) -> None:
    ranks = FakeRanks()

    def refuse(_op: str, impl: str) -> None:
        if impl == "framework":
            raise FakeError("OPSWAP_E_UNUSABLE", "not this one")

    with engine(ranks), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF)
        for native in ranks.natives:
            native.on_use = refuse
        done = c.ask("panic")["result"]
        assert {row["op"]: row["to"] for row in done["ops"]} == dict.fromkeys(OPS, "cpu")
        assert [what.split(":")[0] for what in done["trouble"]] == [
            "silu_and_mul still runs cpu",
            "linear still runs cpu",
        ]
    assert ranks.active("rms_norm") == ["cpu"] * 2


def test_what_only_a_restart_can_switch_is_no_goal() -> None:
    rank = why("ref", *ALL, "framework")
    for impl in rank["impls"]:
        impl["toggle_class"] = "restart" if impl["name"] == "framework" else "live"
    assert goal_of("op", [rank], Record("m", "b"), {"op": "cpu"}).to == "cpu"


def test_a_rank_that_does_not_answer_is_named(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "ASK_TIMEOUT_S", 0.05)
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        ranks.silent = [1]
        error = c.ask("panic")["error"]
        assert (error["code"], "no answer of rank 1" in error["message"]) == ("OPSWAP_E_TIMEOUT", True)
        ranks.silent = []


def test_a_rank_that_does_not_switch_is_named(runtime: Path) -> None:
    ranks = FakeRanks()
    ranks.natives[0].watched["shadow"] = {"rms_norm"}
    with engine(ranks), client(runtime / "e.sock") as c:
        ranks.switches[1].commit = lambda _epoch: None  # type: ignore[assignment, method-assign, return-value]
        error = c.ask("panic", reason="NaNs")["error"]
        assert error["code"] == "OPSWAP_E_DIVERGED"
        assert error["message"].endswith("rank 1 is at epoch 0, others at 2")
        assert [event["kind"] for event in c.ask("events")["result"]["events"]] == ["panic-failed"]
    assert ranks.natives[0].watched["shadow"] == set()


def test_ranks_that_may_differ_are_brought_together(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        ranks.fault = lambda method, rank, ack: {**ack, "step": rank} if method == "commit" else ack
        assert c.ask("use", changes=REF)["error"]["code"] == "OPSWAP_E_DIVERGED"
        ranks.fault = lambda _method, _rank, answer: answer
        ranks.natives[1].chosen["linear"] = "ref"
        assert sorted(row["op"] for row in c.ask("panic")["result"]["ops"]) == OPS
        assert c.ask("status")["result"]["divergence"] is None
    assert ranks.active("linear") == ranks.active("rms_norm") == ["framework"] * 2


def test_a_barred_framework_is_not_taken(runtime: Path) -> None:
    barred = {"rms_norm": {"framework": "the engine died while it was on trial"}}
    StateFile(runtime / "e.state").save([Record("tiny", DIGEST, 4, {"rms_norm": "ref"}, barred=barred)])
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        assert ranks.active("rms_norm") == ["ref"] * 2
        assert c.ask("panic")["ok"]
    assert ranks.active("rms_norm") == ["cpu"] * 2
