"""Overrides that end: renewed, ended by the engine itself, and after restarts and clocks that jump."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ipc_clock import PlayedClock
from ipc_fakes import DIGEST, Client, FakeRanks, client, engine
from opswap.ipc import agent as agent_module
from opswap.ipc import overrides as overrides_module
from opswap.ipc.leases import Lease
from opswap.ipc.state import Record, StateFile

REF = [{"op": "rms_norm", "impl": "ref"}]
CPU = [{"op": "rms_norm", "impl": "cpu"}]
SECOND, DAY = 1000, 86_400_000


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


def overrides(c: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = c.ask("status")["result"]["overrides"]
    return found


def events(c: Client, after: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = c.ask("events", after=after)["result"]["events"]
    return found


def test_an_override_ends_by_itself_on_every_rank_and_is_told(runtime: Path) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        assert c.ask("use", changes=REF, ttl_ms=5 * SECOND, reason="try it", ticket="T-1", owner="ab")["ok"]
        clock.passes(4 * SECOND)
        told = {"op": "rms_norm", "impl": "ref", "returns_to": "cpu", "ttl_ms": 5 * SECOND, "left_ms": SECOND}
        assert overrides(c) == [{**told, "reason": "try it", "ticket": "T-1", "owner": "ab"}]
        time.sleep(0.05)
        assert ranks.active("rms_norm") == ["ref"] * 2
        clock.passes(SECOND)
        until(lambda: ranks.active("rms_norm") == ["cpu"] * 2)
        until(lambda: not overrides(c))
        (event,) = events(c)
        assert (event["n"], event["kind"], event["epoch"]) == (1, "override-ended", 2)
        assert (event["from"], event["to"]) == ({"rms_norm": "ref"}, {"rms_norm": "cpu"})
        assert (event["reason"], event["ticket"], event["owner"]) == ("its time is over: try it", "T-1", "ab")
        status = c.ask("status")["result"]
        assert (status["choice"], status["counters"]["overrides_ended"]) == ({}, 1), "it was nobody's choice before"
        assert events(c, after=1) == []


def test_the_same_again_renews_it_without_an_epoch_and_keeps_what_it_returns_to(runtime: Path) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        for _ in range(3):
            assert c.ask("use", changes=REF, ttl_ms=5 * SECOND)["result"]["epoch"] == 1
            clock.passes(4 * SECOND)
        assert (overrides(c)[0]["returns_to"], overrides(c)[0]["left_ms"]) == ("cpu", SECOND)
        c.ask("use", changes=[{"op": "rms_norm", "impl": "framework"}], ttl_ms=5 * SECOND)
        assert overrides(c)[0]["returns_to"] == "cpu", "not to an override that ended with this one"
        clock.passes(5 * SECOND)
        until(lambda: ranks.active("rms_norm") == ["cpu"] * 2)


@pytest.mark.parametrize("impl", ["ref", "framework"])
def test_a_use_without_an_end_makes_the_choice_a_persons(runtime: Path, impl: str) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF, ttl_ms=5 * SECOND)
        c.ask("use", changes=[{"op": "rms_norm", "impl": impl}])
        assert overrides(c) == []
        clock.passes(DAY)
        time.sleep(0.05)
        assert ranks.active("rms_norm") == [impl] * 2


@pytest.mark.parametrize("is_pinned", [True, False])
def test_one_is_taken_back_before_its_time_to_just_what_was_there(runtime: Path, is_pinned: bool) -> None:
    ranks = FakeRanks()
    with engine(ranks, clock=PlayedClock()), client(runtime / "e.sock") as c:
        if is_pinned:
            c.ask("use", changes=CPU)
        c.ask("use", changes=REF, ttl_ms=5 * SECOND, owner="ab")
        c.ask("use", changes=[{"op": "rms_norm", "impl": "framework"}], ttl_ms=5 * SECOND, owner="ab")
        freeze = {"name": "n", "owner": "team", "reason": "r", "ops": [], "until_ms": 1 << 52}
        assert c.ask("freeze", **freeze)["ok"]
        for other in ({"impl": "ref"}, {"owner": "else"}, {"op": "linear"}):
            asked = {"op": "rms_norm", "impl": "framework", "owner": "ab", **other}
            assert c.ask("end_override", **asked)["error"]["code"] == "OPSWAP_E_LEASE"
        ended = c.ask("end_override", op="rms_norm", impl="framework", owner="ab")["result"]
        assert (ended["changes"], ended["epoch"]) == (CPU, 2 + 1)
        assert (overrides(c), ranks.active("rms_norm")) == ([], ["cpu"] * 2)
        assert c.ask("status")["result"]["choice"] == ({"rms_norm": "cpu"} if is_pinned else {})
        assert [event["kind"] for event in events(c)] == ["frozen"], "whoever asks tells of it"


def test_one_that_ranks_would_not_take_back_is_tried_on_by_the_engine(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks, clock=PlayedClock()), client(runtime / "e.sock") as c:
        assert c.ask("use", changes=REF, ttl_ms=5 * SECOND)["ok"]
        refusal = {"ok": False, "code": "OPSWAP_E_BUSY", "reason": "not now", "status": {"epoch": 1, "prepared": None}}
        ranks.fault = lambda method, rank, answer: {"rank": rank, **refusal} if method == "prepare" else answer
        assert c.ask("end_override", op="rms_norm", impl="ref")["error"]["code"] == "OPSWAP_E_BUSY"
        assert ranks.active("rms_norm") == ["ref"] * 2
        ranks.fault = lambda _method, _rank, answer: answer
        until(lambda: ranks.active("rms_norm") == ["cpu"] * 2)
        until(lambda: [event["kind"] for event in events(c)] == ["override-ended"])
        assert c.ask("end_override", op="rms_norm", impl="ref")["error"]["code"] == "OPSWAP_E_LEASE"


def test_reset_ends_it(runtime: Path) -> None:
    with engine(FakeRanks(), clock=PlayedClock()), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF, ttl_ms=5 * SECOND)
        c.ask("reset", op="rms_norm")
        assert overrides(c) == []


def test_a_renewal_alone_never_switches(runtime: Path) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        renewal = {"changes": REF, "ttl_ms": 5 * SECOND, "owner": "ab", "renew": True}
        assert c.ask("use", **renewal)["error"]["code"] == "OPSWAP_E_LEASE"
        c.ask("use", changes=REF, ttl_ms=5 * SECOND, owner="ab")
        assert c.ask("use", **renewal)["ok"]
        assert "ref of ab is there" in c.ask("use", **{**renewal, "owner": "other"})["error"]["message"]
        c.ask("reset")
        assert c.ask("use", **renewal)["error"]["code"] == "OPSWAP_E_LEASE"
        assert c.ask("use", changes=REF, renew=True)["error"]["code"] == "OPSWAP_E_FIELD"
    assert ranks.active("rms_norm") == ["cpu"] * 2


def test_a_switch_that_expected_another_epoch_is_refused(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        assert c.ask("use", changes=REF, if_epoch=0)["result"]["epoch"] == 1
        error = c.ask("use", changes=CPU, if_epoch=0)["error"]
        assert (error["code"], "epoch 1 is committed, and 0 was" in error["message"]) == ("OPSWAP_E_EPOCH", True)
        assert c.ask("use", changes=CPU, if_epoch=1)["ok"]


@pytest.mark.parametrize("ttl", [999, 30 * DAY + 1])
def test_a_time_beyond_the_bounds_is_refused(runtime: Path, ttl: int) -> None:
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert c.ask("use", changes=REF, ttl_ms=ttl)["error"]["code"] == "OPSWAP_E_FIELD"


def test_it_ends_as_soon_as_another_switch_has_ended(runtime: Path) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c, client(runtime / "e.sock") as other:
        c.ask("use", changes=REF, ttl_ms=5 * SECOND)
        ranks.delay = lambda method: 0.3 if method == "commit" else 0.0
        other.send("use", changes=[{"op": "linear", "impl": "ref"}])
        until(lambda: c.ask("status")["result"]["switching"])
        clock.passes(5 * SECOND)
        time.sleep(0.05)
        assert ranks.active("rms_norm") == ["ref"] * 2
        assert other.receive()["ok"]
        ranks.delay = lambda _method: 0.0
        until(lambda: ranks.active("rms_norm") == ["cpu"] * 2)


def test_a_rank_that_refuses_is_asked_again(runtime: Path) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF, ttl_ms=5 * SECOND)
        refusal = {"rank": 1, "ok": False, "code": "OPSWAP_E_BUSY", "reason": "not now", "status": {}}
        here = ranks.contexts[1]
        status = {"epoch": 1, "prepared": None}
        ranks.fault = lambda method, rank, answer: (
            {**refusal, "status": status} if method == "prepare" and rank == here.rank else answer
        )
        clock.passes(5 * SECOND)
        until(lambda: c.ask("status")["result"]["counters"].get("overrides_retried", 0) >= 2)
        assert ranks.active("rms_norm") == ["ref"] * 2
        doctor = c.ask("doctor")["result"]
        assert (doctor["healthy"], doctor["checks"][0]["name"]) == (False, "overrides")
        ranks.fault = lambda _method, _rank, answer: answer
        until(lambda: ranks.active("rms_norm") == ["cpu"] * 2)
        assert [event["kind"] for event in events(c)] == ["override-ended"]


def test_what_it_returned_to_cannot_run_any_more_so_what_was_chosen_at_load_does(runtime: Path) -> None:
    ranks, clock = FakeRanks(), PlayedClock()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        c.ask("use", changes=[{"op": "rms_norm", "impl": "framework"}])
        c.ask("use", changes=[*REF, {"op": "linear", "impl": "ref"}], ttl_ms=5 * SECOND)
        for native in ranks.natives:
            native.impls["rms_norm"]["framework"] = "its library is gone"
        clock.passes(5 * SECOND)
        until(lambda: not overrides(c))
        assert {event["to"].get("rms_norm") for event in events(c)} == {None, "cpu"}
    assert ranks.active("rms_norm") == ranks.active("linear") == ["cpu"] * 2


def test_what_is_left_counts_on_after_a_restart(runtime: Path) -> None:
    clock = PlayedClock()
    with engine(FakeRanks(), clock=clock), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF, ttl_ms=60 * SECOND)
    clock.passes(20 * SECOND)
    ranks = FakeRanks()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        assert ranks.active("rms_norm") == ["ref"] * 2
        assert overrides(c)[0]["left_ms"] == 40 * SECOND
    clock.starts_again(clock.wall + 30 * SECOND)
    with engine(FakeRanks(), clock=clock), client(runtime / "e.sock") as c:
        assert overrides(c)[0]["left_ms"] == 10 * SECOND
    clock.passes(10 * SECOND)
    ranks = FakeRanks()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        assert ranks.active("rms_norm") == ["cpu"] * 2
        assert (overrides(c), c.ask("status")["result"]["choice"]) == ([], {})
        assert "while the engine was down" in events(c)[0]["reason"]
        assert events(c)[0]["to"] == {"rms_norm": "cpu"}


@pytest.mark.parametrize(
    ("jump", "left"),
    [(-400 * DAY, 60 * SECOND), (-5 * SECOND, 60 * SECOND), (5 * SECOND, 55 * SECOND), (400 * DAY, None)],
)
def test_a_clock_that_jumps_gives_no_more_than_the_whole_time(runtime: Path, jump: int, left: int | None) -> None:
    clock = PlayedClock()
    with engine(FakeRanks(), clock=clock), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF, ttl_ms=60 * SECOND)
        clock.wall += jump
        time.sleep(0.03)
        assert overrides(c)[0]["left_ms"] == 60 * SECOND, "nobody sets the clock that counts while it runs"
    clock.starts_again(clock.wall)
    ranks = FakeRanks()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        assert [each["left_ms"] for each in overrides(c)] == ([] if left is None else [left])
        clock.passes(60 * SECOND)
        until(lambda: ranks.active("rms_norm") == ["cpu"] * 2)


def test_a_clock_that_is_set_back_at_each_start_of_the_process_gives_no_time_again(runtime: Path) -> None:
    clock = PlayedClock()
    with engine(FakeRanks(), clock=clock), client(runtime / "e.sock") as c:
        c.ask("use", changes=REF, ttl_ms=60 * SECOND)
    for left in (40 * SECOND, 20 * SECOND):
        clock.running += 20 * SECOND
        clock.wall -= DAY
        with engine(FakeRanks(), clock=clock), client(runtime / "e.sock") as c:
            assert overrides(c)[0]["left_ms"] == left


def test_a_candidate_that_the_engine_died_under_is_barred_and_its_override_is_gone(runtime: Path) -> None:
    clock = PlayedClock()
    lease = Lease("ref", "framework", 60 * SECOND, clock.wall, clock.boot, clock.running + 60 * SECOND)
    record = Record("tiny", DIGEST, 4, {"rms_norm": "ref"}, {"rms_norm": "ref"}, {"rms_norm": ["framework"]})
    record.leases["rms_norm"] = lease
    StateFile(runtime / "e.state").save([record])
    ranks = FakeRanks()
    with engine(ranks, clock=clock), client(runtime / "e.sock") as c:
        assert (overrides(c), ranks.active("rms_norm")) == ([], ["framework"] * 2)
        assert [event["kind"] for event in events(c)] == ["started-barred"]


CONTROLLER = """
import sys, time
from pathlib import Path
from ipc_fakes import client
with client(Path(sys.argv[1])) as c:
    while True:
        assert c.ask("use", changes=[{"op": "rms_norm", "impl": "ref"}], ttl_ms=1000, owner="ab")["ok"]
        print("renewed", flush=True)
        time.sleep(0.2)
"""


def test_what_a_controller_tried_that_is_killed_is_taken_back(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
        command = [sys.executable, "-c", CONTROLLER, str(runtime / "e.sock")]
        controller = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})
        assert controller.stdout is not None
        for _ in range(8):
            assert controller.stdout.readline() == b"renewed\n"
        assert (c.ask("status")["result"]["epoch"], ranks.active("rms_norm")) == (1, ["ref"] * 2)
        controller.kill()
        controller.wait(10)
        controller.stdout.close()
        until(lambda: ranks.active("rms_norm") == ["cpu"] * 2)
        until(lambda: [event["owner"] for event in events(c)] == ["ab"])


def test_a_file_of_the_schema_before_is_read(runtime: Path) -> None:
    old = '{"schema": 2, "records": [{"model": "tiny", "build": "%s", "epoch": 3, "choice": {"rms_norm": "ref"}, '
    (runtime / "e.state").write_text(old % DIGEST + '"trial": {}, "proven": {}, "barred": {}}]}')
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        assert c.ask("status")["result"]["restored"]["outcome"] == "restored"
    assert ranks.active("rms_norm") == ["ref"] * 2


@pytest.mark.parametrize(("part", "wrong"), [('"ends_ms": 1', '"ends_ms": -1'), ('"cpu"', "7"), ('"boot"', '"other"')])
def test_a_lease_that_is_not_one_makes_the_file_unreadable(runtime: Path, part: str, wrong: str) -> None:
    record = Record("tiny", DIGEST, 1, {"rms_norm": "ref"})
    record.leases["rms_norm"] = Lease("ref", "cpu", 1000, 1, "b", 1)
    StateFile(runtime / "e.state").save([record])
    text = (runtime / "e.state").read_text()
    assert part in text
    (runtime / "e.state").write_text(text.replace(part, wrong))
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert c.ask("status")["result"]["restored"]["outcome"] == "framework"
        assert [event["kind"] for event in events(c)] == ["started-framework"]
