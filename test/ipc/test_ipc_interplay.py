"""Where overrides, panic, bars, registrations, restarts and shadows meet in one engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ipc_clock import PlayedClock
from ipc_fakes import DIGEST, ENGINE, FakeError, FakeRanks, client, engine, let_pass
from opswap.ipc import agent as agent_module
from opswap.ipc import candidates as candidates_module
from opswap.ipc import overrides as overrides_module
from opswap.ipc.leases import Lease
from opswap.ipc.quarantine.keeper import Quarantine
from opswap.ipc.state import Record, StateFile

SECOND = 1000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "OVERRIDES_S", 0.005)
    monkeypatch.setattr(overrides_module, "RETRY_MS", 0)


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(1000):
        if is_so():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come to that")


def bar(agent: Any, op: str, impl: str, verdict: str = "barred") -> None:
    """As a quarantine does."""

    async def barred() -> None:
        result = {"op": op, "impl": impl, "verdict": verdict, "reason": "wrong"}
        agent.engine.quarantine._bar(agent.engine.memory, result)

    asyncio.run_coroutine_threadsafe(barred(), agent._loops[0].get_loop()).result(5)


def to(op: str, impl: str) -> list[dict[str, str]]:
    return [{"op": op, "impl": impl}]


def saved(runtime: Path, **what: Any) -> None:
    StateFile(runtime / "e.state").save([Record("tiny", DIGEST, **what)])


def test_reset_lifts_the_bar_of_what_was_chosen_at_load(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks) as agent, client(runtime / "e.sock") as c:
        c.ask("use", changes=to("rms_norm", "ref"))
        bar(agent, "rms_norm", "cpu")
        assert c.ask("use", changes=to("rms_norm", "cpu"))["error"]["code"] == "OPSWAP_E_BARRED"
        done = c.ask("reset", op="rms_norm")["result"]
        assert [row["impl"] for row in done["lifted"]] == ["cpu"]
        assert ranks.active("rms_norm") == ["cpu"] * 2 and c.ask("status")["result"]["barred"] == []


def test_a_reset_that_a_rank_refuses_lifts_nothing(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks) as agent, client(runtime / "e.sock") as c:
        c.ask("use", changes=to("rms_norm", "ref"))
        bar(agent, "rms_norm", "cpu")
        ranks.natives[1].impls["rms_norm"]["cpu"] = "gone"
        assert not c.ask("reset", op="rms_norm")["ok"]
        assert len(c.ask("status")["result"]["barred"]) == 1


def test_what_is_barred_is_not_shadowed_either(runtime: Path) -> None:
    started: list[tuple[str, ...]] = []
    ranks = FakeRanks()
    for native in ranks.natives:
        native.shadow_start = lambda *arms, **_how: started.append(arms)
    saved(runtime, trial={"rms_norm": "ref"}, choice={"rms_norm": "ref"})
    with engine(ranks), client(runtime / "e.sock") as c:
        arms = {"op": "rms_norm", "control": "cpu", "candidate": "ref"}
        assert c.ask("shadow_start", **arms)["error"]["code"] == "OPSWAP_E_BARRED"
        assert started == []


def test_an_op_that_cannot_return_does_not_keep_the_next_one(runtime: Path) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        for op in ("rms_norm", "linear"):
            c.ask("use", changes=to(op, "ref"), ttl_ms=5 * SECOND)
        for native in ranks.natives:
            native.impls["rms_norm"].update(cpu="gone", framework="gone", sm90="gone")
        clock.passes(6 * SECOND)
        until(lambda: ranks.active("linear") == ["cpu"] * 2)
        assert [row["op"] for row in c.ask("status")["result"]["overrides"]] == ["rms_norm"]


def test_an_override_is_left_also_where_what_ran_before_is_barred_meanwhile(runtime: Path) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock) as agent, client(runtime / "e.sock") as c:
        c.ask("use", changes=to("rms_norm", "ref"), ttl_ms=5 * SECOND)
        bar(agent, "rms_norm", "cpu")
        clock.passes(6 * SECOND)
        until(lambda: ranks.active("rms_norm") == ["framework"] * 2)
        until(lambda: not c.ask("status")["result"]["overrides"])


def test_an_override_that_panic_cannot_take_back_is_over_and_is_tried_again(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overrides_module, "RETRY_MS", SECOND)
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        mine = {"changes": to("rms_norm", "ref"), "ttl_ms": 50 * SECOND, "owner": "ab"}
        c.ask("use", **mine)

        def never(op: str, impl: str) -> None:
            if op == "rms_norm" and impl != "ref":
                raise FakeError("OPSWAP_E_UNUSABLE", "not now")

        for native in ranks.natives:
            native.on_use = never
        done = c.ask("panic")["result"]
        assert done["refused"] == ["rms_norm"] and done["overrides"] == []
        # Between two tries, which would be another switch that is under way.
        until(lambda: c.ask("use", **mine, renew=True)["error"]["code"] == "OPSWAP_E_LEASE")
        for native in ranks.natives:
            native.on_use = lambda _op, _impl: None
        clock.passes(SECOND)
        until(lambda: ranks.active("rms_norm") == ["cpu"] * 2)


def test_a_panic_that_fails_half_way_ends_the_overrides_of_what_it_switched(runtime: Path) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        mine = {"changes": to("rms_norm", "ref"), "ttl_ms": 50 * SECOND, "owner": "ab"}
        c.ask("use", **mine)
        c.ask("use", changes=to("linear", "ref"), ttl_ms=50 * SECOND)
        commits: list[int] = []

        def planted(method: str, rank: int, answer: dict[str, Any]) -> dict[str, Any] | None:
            commits.extend([rank] if method == "commit" and rank == 0 else [])
            prepared = ranks.switches[rank]._prepared
            if method == "prepare" and prepared and len(prepared.changes) > 1 and not commits:
                refusal = {"ok": False, "code": "OPSWAP_E_UNUSABLE", "reason": "not all at once"}
                return {"rank": rank, **refusal, "status": answer["status"]}
            if method == "prepare" and commits:
                raise RuntimeError("the ranks are gone")
            return answer

        ranks.fault = planted
        assert not c.ask("panic")["ok"]
        ranks.fault = lambda _method, _rank, answer: answer
        assert ranks.active("rms_norm") == ["framework"] * 2
        assert c.ask("use", **mine, renew=True)["error"]["code"] == "OPSWAP_E_LEASE"
        assert [row["op"] for row in c.ask("status")["result"]["overrides"]] == ["linear"]


def lease(impl: str, returns_to: str) -> Lease:
    clock = PlayedClock()
    return Lease(impl, returns_to, 60 * SECOND, clock.wall, clock.boot, clock.running + 50 * SECOND)


def test_after_a_death_or_a_loss_what_an_override_returns_to_runs_and_no_earlier_override(runtime: Path) -> None:
    """`ref` was an override itself, which ran long enough."""
    for gone, trial in ((lease("mine", "cpu"), {}), (lease("framework", "cpu"), {"rms_norm": "framework"})):
        proven = {"rms_norm": ["cpu", "ref"]}
        saved(runtime, choice={"rms_norm": gone.impl}, proven=proven, trial=trial, leases={"rms_norm": gone})
        ranks = FakeRanks()
        with engine(ranks, clock=PlayedClock()), client(runtime / "e.sock") as c:
            assert ranks.active("rms_norm") == ["cpu"] * 2
            assert c.ask("status")["result"]["overrides"] == []


def test_a_choice_that_was_barred_while_it_ran_does_not_take_the_others_along_at_a_restart(runtime: Path) -> None:
    barred = {"rms_norm": {"ref": "quarantine: wrong"}}
    proven = {"rms_norm": ["cpu", "ref"], "linear": ["ref"]}
    saved(runtime, choice={"rms_norm": "ref", "linear": "ref"}, proven=proven, barred=barred)
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        assert ranks.active("linear") == ["ref"] * 2 and ranks.active("rms_norm") == ["cpu"] * 2
        restored = c.ask("status")["result"]["restored"]
        assert restored["outcome"] == "refused" and "rms_norm=ref" in restored["message"]


def test_the_last_known_good_is_never_a_barred_one(runtime: Path) -> None:
    barred = {"rms_norm": {"ref": "quarantine: wrong"}}
    proven = {"rms_norm": ["cpu", "ref"]}
    saved(runtime, choice={"rms_norm": "framework"}, trial={"rms_norm": "framework"}, proven=proven, barred=barred)
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        assert ranks.active("rms_norm") == ["cpu"] * 2
        assert c.ask("status")["result"]["restored"]["outcome"] == "barred"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python file that the engine may register."""
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    configuration = tmp_path / "candidates.json"
    configuration.write_text(json.dumps({"folders": [str(folder)]}))
    file = folder / "mine.py"
    file.write_text("def rms_norm(out, x):\n    out[:] = x\n")
    for each in (file, configuration):
        each.chmod(0o600)
    monkeypatch.setenv("OPSWAP_CANDIDATES", str(configuration))
    return file


async def loads(_row: dict[str, Any]) -> None:
    """Another process, played."""


def test_a_registration_whose_answers_are_lost_needs_quarantine_all_the_same(
    runtime: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates_module, "REGISTER_TIMEOUT_S", 0.2)
    ranks = FakeRanks()
    asked = {"path": str(kernel), "op": "rms_norm", "name": "mine"}
    with engine(ranks, probe=loads), client(runtime / "e.sock") as c:
        ranks.late = lambda method: 5.0 if "mine" in ranks.natives[0].impls["rms_norm"] and method == "register" else 0
        assert c.ask("register", **asked)["error"]["code"] == "OPSWAP_E_TIMEOUT"
        assert "mine" in ranks.natives[1].impls["rms_norm"]
        assert c.ask("use", changes=to("rms_norm", "mine"))["error"]["code"] == "OPSWAP_E_QUARANTINE"
        ranks.late = lambda _method: 0
        assert c.ask("register", **asked)["ok"], "asked again it is listed"


def test_one_file_with_kernels_of_two_ops_needs_quarantine_for_each(runtime: Path, kernel: Path) -> None:
    kernel.write_text("def rms_norm(out, x):\n    pass\n\n\ndef linear(out, x):\n    pass\n")
    ranks = FakeRanks()
    with engine(ranks, probe=loads), client(runtime / "e.sock") as c:
        for op in ("rms_norm", "linear"):
            assert c.ask("register", path=str(kernel), op=op, name="mine")["ok"]
        for op in ("rms_norm", "linear"):
            assert c.ask("use", changes=to(op, "mine"))["error"]["code"] == "OPSWAP_E_QUARANTINE"
        assert ranks.active("rms_norm") == ["cpu"] * 2


def test_another_file_of_a_name_that_had_proven_itself_is_on_trial(runtime: Path, kernel: Path) -> None:
    saved(runtime, proven={"rms_norm": ["cpu", "mine"]})
    with engine(FakeRanks(), probe=loads) as agent, client(runtime / "e.sock") as c:
        assert c.ask("register", path=str(kernel), op="rms_norm", name="mine")["ok"]
        let_pass(agent, "rms_norm", "mine")
        assert c.ask("use", changes=to("rms_norm", "mine"))["ok"]
        assert c.ask("status")["result"]["trial"] == {"rms_norm": "mine"}


def test_a_candidate_is_not_named_like_the_frameworks_own(runtime: Path, kernel: Path) -> None:
    ranks = FakeRanks()
    for native in ranks.natives:
        del native.impls["rms_norm"]["framework"]
    with engine(ranks, probe=loads), client(runtime / "e.sock") as c:
        refused = c.ask("register", path=str(kernel), op="rms_norm", name="framework")["error"]
        assert refused["code"] == "OPSWAP_E_CANDIDATE"
        long = kernel.with_name("a" * 300 + ".py")
        refused = c.ask("register", path=str(long), op="rms_norm", name="mine")["error"]
        assert refused["code"] == "OPSWAP_E_CANDIDATE"


def test_an_override_ends_also_where_its_switch_left_the_ranks_apart(runtime: Path) -> None:
    """Rank 1 does not commit, and then no rank can be reached, so that rank 0 keeps what was tried."""
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        committed: list[int] = []

        def planted(method: str, rank: int, answer: dict[str, Any]) -> dict[str, Any] | None:
            if committed and method == "prepare":
                raise RuntimeError("the ranks are gone")
            committed.extend([rank] if method == "commit" else [])
            return None if method == "commit" and rank == 1 else answer

        ranks.fault = planted
        error = c.ask("use", changes=to("rms_norm", "ref"), ttl_ms=5 * SECOND)["error"]
        assert error["code"] == "OPSWAP_E_DIVERGED" and "ref" in ranks.active("rms_norm")
        ranks.fault = lambda _method, _rank, answer: answer
        clock.passes(6 * SECOND)
        until(lambda: ranks.active("rms_norm") == ["cpu"] * 2)
        until(lambda: c.ask("status")["result"]["divergence"] is None)


def test_where_a_start_ends_with_the_framework_nothing_else_is_said_to_run(runtime: Path) -> None:
    saved(runtime, choice={"rms_norm": "sm90", "linear": "ref"}, proven={"linear": ["ref"]})
    ranks = FakeRanks()
    for native in ranks.natives:
        native.impls["linear"]["framework"] = "it has none"
    with engine(ranks), client(runtime / "e.sock") as c:
        status = c.ask("status")["result"]
        assert status["restored"]["outcome"] == "framework"
        assert ranks.active("linear") == ["cpu"] * 2 and "linear" not in status["choice"]


@pytest.mark.parametrize("other", ["build_digest", "model", "version"])
def test_what_a_quarantine_found_is_of_one_build_framework_and_model(tmp_path: Path, other: str) -> None:
    def keeper(**changed: str) -> Quarantine:
        framework = {name: changed.get(name, value) for name, value in ENGINE.items()}
        made = Quarantine(lambda _op, _impl: None, changed.get("build_digest", DIGEST), framework)
        made.load(tmp_path / "e.quarantine")
        return made

    result = {"op": "rms_norm", "impl": "framework", "control": "cpu", "digest": "vllm 0.33.0", "verdict": "passed"}
    result |= {"reason": "", "calls": 1, "buckets": [], "bit_equal": True, "references": [], "refused": []}
    asyncio.run(keeper()._keep({**result, "time_ms": 1, "took_ms": 1}))
    assert len(keeper().results) == 1
    assert keeper(**{other: "another"}).results == []


def test_a_quarantine_lifts_its_own_bar_alone(runtime: Path) -> None:
    saved(runtime, trial={"rms_norm": "ref"}, choice={"rms_norm": "ref"})
    with engine(FakeRanks()) as agent, client(runtime / "e.sock") as c:
        for verdict in ("passed", "barred", "passed"):
            bar(agent, "rms_norm", "ref", verdict)
            (row,) = c.ask("status")["result"]["barred"]
            assert "the engine died" in row["reason"]
        bar(agent, "rms_norm", "cpu")
        bar(agent, "rms_norm", "cpu", "passed")
        assert [row["impl"] for row in c.ask("status")["result"]["barred"]] == ["ref"]


def test_what_cannot_run_here_is_not_put_in_quarantine(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPSWAP_RECORDINGS", raising=False)
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        refused = c.ask("quarantine", op="rms_norm", impl="sm90")["error"]
        assert refused["code"] == "OPSWAP_E_UNUSABLE" and "no usable CUDA device" in refused["message"]
        assert c.ask("status")["result"]["barred"] == []
