"""What an engine remembers: candidates on trial, what it died under, and choices of another model or build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ipc_fakes import DIGEST, FakeNative, FakeRanks, client, engine
from opswap.ipc import agent as agent_module
from opswap.ipc import engine as engine_module
from opswap.ipc.state import MAX_BARRED, MAX_PROVEN, Record, StateFile

REF = [{"op": "rms_norm", "impl": "ref"}]
CPU = [{"op": "rms_norm", "impl": "cpu"}]
START_S = 20.0


def saved(runtime: Path) -> list[Record]:
    return StateFile(runtime / "e.state").load()


def died(runtime: Path, **fields: Any) -> None:
    """Leaves what an engine leaves that died with ref on trial."""
    record = Record("tiny", DIGEST, epoch=4, choice={"rms_norm": "ref"}, trial={"rms_norm": "ref"}, **fields)
    StateFile(runtime / "e.state").save([record])


def test_the_disk_knows_of_a_candidate_before_it_runs(runtime: Path) -> None:
    ranks, seen = FakeRanks(), []
    with engine(ranks), client(runtime / "e.sock") as c:
        ranks.natives[0].on_use = lambda _op, _impl: seen.append(saved(runtime)[0].trial)
        assert c.ask("use", changes=REF)["ok"]
        assert c.ask("status")["result"]["trial"] == {"rms_norm": "ref"}
    assert seen == [{"rms_norm": "ref"}]


def test_a_candidate_of_which_the_disk_cannot_know_is_refused(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks) as agent, client(runtime / "e.sock") as c:
        agent.engine.memory.file.path = runtime / "nowhere" / "e.state"
        error = c.ask("use", changes=REF)["error"]
        assert error["code"] == "OPSWAP_E_IO"
        assert "rms_norm=ref; nothing was switched" in error["message"]
        assert c.ask("status")["result"]["trial"] == {}
        assert [rank["prepared"] for rank in c.ask("status")["result"]["ranks"]] == [None, None]
    assert ranks.active("rms_norm") == ["cpu"] * 2


def test_what_ran_from_the_start_is_no_candidate(runtime: Path) -> None:
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF)
        c.ask("use", changes=CPU)
        assert c.ask("status")["result"]["trial"] == {}


def test_an_engine_that_died_starts_with_the_candidate_barred_and_says_so(runtime: Path) -> None:
    died(runtime, proven={"rms_norm": ["cpu", "framework"]})
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        status = c.ask("status")["result"]
        assert status["restored"]["outcome"] == "barred"
        assert "died under rms_norm=ref, which is barred now" in status["restored"]["message"]
        assert "last known good is active: rms_norm=framework" in status["restored"]["message"]
        assert [(row["op"], row["impl"]) for row in status["barred"]] == [("rms_norm", "ref")]
        assert ranks.active("rms_norm") == ["framework"] * 2
        why = {impl["name"]: impl for impl in c.ask("why", op="rms_norm")["result"]["ranks"][1]["impls"]}
        assert not why["ref"]["usable"]
        assert "epoch 4" in why["ref"]["reason"]
        assert why["cpu"]["usable"]
        refused = c.ask("use", changes=[{"op": "linear", "impl": "ref"}, *REF])["error"]
        assert (refused["code"], "opswap reset rms_norm" in refused["remedy"]) == ("OPSWAP_E_BARRED", True)
        check = next(check for check in c.ask("doctor")["result"]["checks"] if check["name"] == "saved choice")
        assert check["state"] == "warn"
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert c.ask("use", changes=REF)["error"]["code"] == "OPSWAP_E_BARRED", "a bar outlives a restart"


def test_the_disk_knows_of_a_candidate_that_runs_in_a_shadow(runtime: Path) -> None:
    with engine(FakeRanks()) as agent, client(runtime / "e.sock") as c:
        c.ask("shadow_start", op="rms_norm", control="cpu", candidate="ref")
        assert saved(runtime)[0].shadowed == {"rms_norm": "ref"}
        c.ask("shadow_stop", op="rms_norm")
        assert agent.engine.memory.record.shadowed == {}
    StateFile(runtime / "e.state").save([Record("tiny", DIGEST, epoch=4, shadowed={"rms_norm": "ref"})])
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        status = c.ask("status")["result"]
        assert status["restored"]["outcome"] == "barred"
        (barred,) = status["barred"]
        assert barred["reason"] == "the engine died while it was in a shadow (epoch 4)"
        for verb, fields in (
            ("use", {"changes": REF}),
            ("shadow_start", {"op": "rms_norm", "control": "cpu", "candidate": "ref"}),
        ):
            assert c.ask(verb, **fields)["error"]["code"] == "OPSWAP_E_BARRED"


def test_a_shadow_that_is_about_to_start_is_not_taken_for_one_that_ended(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine(FakeRanks()) as agent, client(runtime / "e.sock") as c:
        write = agent.engine.memory._write

        async def judged_meanwhile() -> None:
            await agent.engine.judge_shadows()
            await write()

        monkeypatch.setattr(agent.engine.memory, "_write", judged_meanwhile)
        c.ask("shadow_start", op="rms_norm", control="cpu", candidate="ref")
        assert saved(runtime)[0].shadowed == {"rms_norm": "ref"}


def test_reset_lifts_a_bar_unpins_and_brings_back_what_ran_at_load(runtime: Path) -> None:
    died(runtime, proven={"rms_norm": ["framework"]})
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        c.ask("use", changes=[{"op": "linear", "impl": "ref"}])
        told = c.ask("reset", op="rms_norm")["result"]
        assert told["changes"] == CPU
        assert [ack["previous"] for ack in told["acks"]] == [{"rms_norm": "framework"}] * 2
        assert [row["impl"] for row in told["lifted"]] == ["ref"]
        assert c.ask("status")["result"]["choice"] == {"linear": "ref"}
        assert c.ask("use", changes=REF)["ok"]
        everything = c.ask("reset")["result"]
        assert {row["op"] for row in everything["changes"]} == {"rms_norm", "linear"}
        assert c.ask("reset", op="rms_nrm")["error"]["code"] == "OPSWAP_E_NO_OP"
    assert ranks.active("linear") == ["cpu"] * 2
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert c.ask("status")["result"]["restored"]["outcome"] == "none"


def test_a_candidate_has_proven_itself_when_every_rank_has_called_it_for_a_while(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "TRIAL_S", 0.0)
    monkeypatch.setattr(agent_module, "JUDGE_S", 0.02)
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF)
        ranks.natives[0].calls["rms_norm", "ref"] = 5
        time.sleep(0.2)
        assert c.ask("status")["result"]["trial"] == {"rms_norm": "ref"}, "rank 1 has not called it"
        ranks.natives[1].calls["rms_norm", "ref"] = 5
        for _ in range(500):
            if not c.ask("status")["result"]["trial"]:
                break
            time.sleep(0.01)
    assert saved(runtime)[0].proven == {"rms_norm": ["cpu", "ref"]}


@pytest.mark.parametrize(("has_died", "outcome"), [(False, "restored"), (True, "barred")])
def test_a_stop_is_no_death_unless_the_engine_died(runtime: Path, has_died: bool, outcome: str) -> None:
    with engine(FakeRanks(), died=lambda: has_died), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF)
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert c.ask("status")["result"]["restored"]["outcome"] == outcome


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (Record("other", DIGEST, 7, {"rms_norm": "ref"}), "model other, and this is tiny"),
        (Record("tiny", "e" * 64, 7, {"rms_norm": "ref"}), f"build {'e' * 16}, and this is {DIGEST[:16]}"),
    ],
)
def test_a_choice_of_another_model_or_build_is_refused_for_the_last_known_good(
    runtime: Path, last: Record, told: str
) -> None:
    mine = Record("tiny", DIGEST, 3, {"linear": "framework"})
    StateFile(runtime / "e.state").save([last, mine])
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        restored = c.ask("status")["result"]["restored"]
        assert (restored["outcome"], told in restored["message"]) == ("refused", True)
        assert c.ask("status")["result"]["epoch"] == 8
    assert ranks.active("rms_norm") == ["cpu"] * 2
    assert ranks.active("linear") == ["framework"] * 2
    assert [(r.model, r.build) for r in saved(runtime)] == [("tiny", DIGEST), (last.model, last.build)]


def test_a_build_without_a_record_starts_with_what_the_library_chose(runtime: Path) -> None:
    StateFile(runtime / "e.state").save([Record("tiny", "e" * 64, 7, {"rms_norm": "ref"})])
    ranks = FakeRanks()
    ranks.natives = [FakeNative(), FakeNative()]
    ranks.make()
    with engine(ranks), client(runtime / "e.sock") as c:
        restored = c.ask("status")["result"]["restored"]
        assert restored["outcome"] == "refused"
        assert "what the library chose at load is active" in restored["message"]
    assert ranks.active("rms_norm") == ["cpu"] * 2


def test_a_failed_switch_leaves_nothing_on_trial(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        commits: list[int] = []

        def skew_once(method: str, rank: int, ack: dict[str, Any]) -> dict[str, Any]:
            commits.extend([rank] * (method == "commit"))
            return {**ack, "step": ack["step"] + rank} if method == "commit" and len(commits) <= 2 else ack

        ranks.fault = skew_once
        assert c.ask("use", changes=REF)["error"]["code"] == "OPSWAP_E_DIVERGED"
        assert c.ask("status")["result"]["trial"] == {}


def test_where_ranks_may_differ_the_candidate_stays_on_trial(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        ranks.fault = lambda method, rank, ack: {**ack, "step": rank} if method == "commit" else ack
        assert "switching back failed too" in c.ask("use", changes=REF)["error"]["message"]
        assert c.ask("status")["result"]["trial"] == {"rms_norm": "ref"}


def start(name: str, runtime: Path) -> subprocess.Popen[bytes]:
    """The real library behind a real agent, in a process that can be killed."""
    script = Path(__file__).with_name("real_engine.py")
    process = subprocess.Popen([sys.executable, str(script), name])
    until = time.monotonic() + START_S
    while not (runtime / f"{name}.json").exists() or str(process.pid) not in (runtime / f"{name}.json").read_text():
        assert process.poll() is None
        assert time.monotonic() < until, "it did not start"
        time.sleep(0.01)
    return process


def test_a_process_that_is_killed_under_a_candidate_starts_with_it_barred(runtime: Path) -> None:
    first = start("k", runtime)
    with client(runtime / "k.sock") as c:
        assert c.ask("use", changes=REF)["ok"]
    os.kill(first.pid, signal.SIGKILL)
    first.wait(10)
    second = start("k", runtime)
    try:
        with client(runtime / "k.sock") as c:
            status = c.ask("status")["result"]
            assert status["restored"]["outcome"] == "barred"
            assert c.ask("why", op="rms_norm")["result"]["ranks"][0]["active"] == "cpu"
            assert c.ask("use", changes=REF)["error"]["code"] == "OPSWAP_E_BARRED"
            assert c.ask("reset", op="rms_norm")["result"]["lifted"]
            assert c.ask("use", changes=REF)["ok"]
    finally:
        second.terminate()
        assert second.wait(10) == 0


def test_what_is_barred_is_not_forgotten_for_a_new_candidate(runtime: Path) -> None:
    barred = {"rms_norm": {f"old{n}": "it died" for n in range(MAX_BARRED)}}
    StateFile(runtime / "e.state").save([Record("tiny", DIGEST, 4, barred=barred)])
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        for verb, fields in (
            ("use", {"changes": REF}),
            ("shadow_start", {"op": "rms_norm", "control": "cpu", "candidate": "ref"}),
        ):
            error = c.ask(verb, **fields)["error"]
            assert (error["code"], f"{MAX_BARRED} implementations" in error["message"]) == ("OPSWAP_E_BUSY", True)
        assert ranks.active("rms_norm") == ["cpu"] * 2
        assert len(c.ask("status")["result"]["barred"]) == MAX_BARRED
        assert c.ask("panic")["ok"], "the way out needs no room"
        assert c.ask("reset", op="rms_norm")["ok"]
        assert c.ask("use", changes=REF)["ok"]


def test_of_what_has_proven_itself_the_oldest_is_forgotten(runtime: Path) -> None:
    proven = {"rms_norm": [f"old{n}" for n in range(MAX_PROVEN)]}
    StateFile(runtime / "e.state").save([Record("tiny", DIGEST, 4, proven=proven)])
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert c.ask("use", changes=REF)["ok"]
    assert saved(runtime)[0].proven["rms_norm"] == [*(f"old{n}" for n in range(1, MAX_PROVEN)), "cpu"]


def test_a_draft_of_a_killed_process_is_cleared_away(runtime: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(20)
    left, other = runtime / f"e.state.{gone.pid}.tmp", runtime / f"e.state.{os.getppid()}.tmp"
    for draft in (left, other):
        draft.write_text("{")
    with engine(FakeRanks()), client(runtime / "e.sock"):
        assert (left.exists(), other.exists()) == (False, True)
