"""Shadows and recordings through a real agent's socket: with the real library as the only rank, and refused by one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import opswap
import pytest
from ipc_fakes import FakeError, FakeRanks, client, engine
from opswap.errors import OpswapError
from opswap.ipc.watch import RECORDINGS, RankWatch

ALL = {"share_of_calls": 1.0, "share_of_time": 1.0}
ARMS = {"op": "rms_norm", "control": "ref", "candidate": "cpu"}


@pytest.fixture(autouse=True)
def _stopped():
    yield
    for stop in (opswap.shadow_stop, opswap.record_stop):
        try:
            stop("rms_norm")
        except OpswapError as error:
            assert "was started" in str(error)


def real(environment: dict[str, str] | None = None) -> FakeRanks:
    """One rank, whose shadows and recordings are those of the library in this process."""
    ranks = FakeRanks(1)
    ranks.watches = [RankWatch(opswap, 0, environment or {})]
    return ranks


def norm(rows: int) -> None:
    x = np.ones((rows, 16), np.float32)
    opswap.call("rms_norm", np.empty_like(x), x, np.ones(16, np.float32), 1e-5)


def test_a_shadow_is_started_read_and_stopped(runtime: Path) -> None:
    with engine(real()), client(runtime / "e.sock") as c:
        (started,) = c.ask("shadow_start", **ARMS, **ALL)["result"]["ranks"]
        assert (started["running"], started["recorded"]) == (True, 0)
        for rows in (1, 1, 5):
            norm(rows)
        records = c.ask("shadow_read", op="rms_norm")["result"]["records"]
        assert [r["bucket"] for r in records] == ["T1 H16 float32", "T1 H16 float32", "T8 H16 float32"]
        assert all(r["outside"] == 0 and r["control_ns"] > 0 for r in records)
        rest = c.ask("shadow_read", op="rms_norm", after=[records[1]["sequence"]])["result"]["records"]
        assert rest == records[2:]
        assert len(c.ask("shadow_read", op="rms_norm", most=2)["result"]["records"]) == 2
        (stopped,) = c.ask("shadow_stop", op="rms_norm")["result"]["ranks"]
        norm(1)
        (after,) = c.ask("shadow_status", op="rms_norm")["result"]["ranks"]
        assert (stopped["running"], after["recorded"], after["seen"]) == (False, 3, 3)


def test_what_cannot_be_is_refused_in_words(runtime: Path) -> None:
    with engine(real()), client(runtime / "e.sock") as c:
        wrong = c.ask("shadow_start", op="rms_norm", control="ref", candidate="cup")["error"]
        assert wrong["code"] == "OPSWAP_E_NO_IMPL" and "it has ref" in wrong["message"]
        assert c.ask("shadow_start", op="rms_nrm", control="a", candidate="b")["error"]["code"] == "OPSWAP_E_NO_OP"
        over = c.ask("shadow_start", **ARMS, share_of_calls=1.5)["error"]
        assert over["code"] == "OPSWAP_E_FIELD"
        c.ask("shadow_start", **ARMS)
        assert c.ask("shadow_start", **ARMS)["error"]["code"] == "OPSWAP_E_EXISTS"
        assert c.ask("shadow_status", op="rms_norm")["result"]["ranks"][0]["running"]


def test_a_difference_that_nothing_allows_is_still_a_number(runtime: Path) -> None:
    """copy is exact: its tolerance is 0, and what differs is infinitely far outside."""
    record: dict[str, Any] = {"worst": float("inf"), "elements": 3, "time_ns": 1_795_949_977_447_989_192}

    class Native:
        def shadow_read(self, _op: str, after: int, most: int) -> list[dict[str, Any]]:
            return [record]

    answer = RankWatch(Native(), 0).shadow_read("copy", [], 10)  # type: ignore[arg-type]
    wanted = {"worst": pytest.approx(1.797e308, rel=1e-3), "elements": 3, "time_us": 1_795_949_977_447_989}
    assert answer["records"] == [wanted]


def test_activations_are_kept_only_where_the_engine_says_so(runtime: Path, tmp_path: Path) -> None:
    with engine(real()), client(runtime / "e.sock") as c:
        refused = c.ask("record_start", op="rms_norm")["error"]
        assert refused["code"] == "OPSWAP_E_UNUSABLE" and RECORDINGS in refused["message"]
    folder = tmp_path / "kept"
    with engine(real({RECORDINGS: str(folder)})), client(runtime / "e.sock") as c:
        (started,) = c.ask("record_start", op="rms_norm", share_of_calls=1.0)["result"]["ranks"]
        assert (started["folder"], folder.stat().st_mode & 0o777) == (str(folder), 0o700)
        norm(2)
        while not (now := c.ask("record_status", op="rms_norm")["result"]["ranks"][0])["files"]:
            time.sleep(0.01)
        (file,) = folder.iterdir()
        assert file.stat().st_size == now["bytes"]
        (stopped,) = c.ask("record_stop", op="rms_norm")["result"]["ranks"]
        assert not stopped["running"]


class WatchNative:
    """A rank's library that starts a shadow, or does not."""

    def __init__(self, refuses: str | None = None) -> None:
        self.refuses = refuses
        self.salt: int | None = None

    def shadow_start(self, _op: str, _control: str, _candidate: str, salt: int) -> None:
        if self.refuses:
            raise FakeError(self.refuses, "not here")
        self.salt = salt

    def shadow_stop(self, _op: str) -> None:
        self.salt = None

    def shadow_status(self, op: str) -> dict[str, Any]:
        counts = {"seen": 0, "recorded": 0, "took_ns": 0, "left_out": {}, "buckets": []}
        salt = {"salt": self.salt or 0, "running": self.salt is not None}
        return {"op": op, "control": "a", "candidate": "b", **salt, "ended_by": "", **counts}


def watched(ranks: FakeRanks, natives: list[WatchNative]) -> None:
    ranks.watches = [RankWatch(native, i) for i, native in enumerate(natives)]  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ["OPSWAP_E_UNUSABLE", "OPSWAP_E_EXISTS"])
def test_where_one_rank_refuses_none_starts(runtime: Path, code: str) -> None:
    ranks, natives = FakeRanks(3), [WatchNative(), WatchNative(code), WatchNative()]
    before = 7 if code == "OPSWAP_E_EXISTS" else None
    natives[1].salt = before  # one that ran before goes on
    watched(ranks, natives)
    with engine(ranks), client(runtime / "e.sock") as c:
        assert c.ask("shadow_start", **ARMS)["error"]["code"] == code
    assert [native.salt for native in natives] == [None, before, None]


def test_a_start_that_a_rank_answers_too_late_is_taken_back(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opswap.ipc.engine.ASK_TIMEOUT_S", 0.2)
    ranks, natives = FakeRanks(2), [WatchNative(), WatchNative()]
    watched(ranks, natives)
    ranks.late = lambda method: 0.5 if method == "shadow_start" else 0.0
    with engine(ranks), client(runtime / "e.sock") as c:
        assert c.ask("shadow_start", **ARMS)["error"]["code"] == "OPSWAP_E_TIMEOUT"
    assert [native.salt for native in natives] == [None, None]


def test_a_stop_may_name_the_one_that_it_means(runtime: Path) -> None:
    with engine(real()), client(runtime / "e.sock") as c:
        c.ask("shadow_start", **ARMS, salt=5)
        (other,) = c.ask("shadow_stop", op="rms_norm", salt=4)["result"]["ranks"]
        assert (other["running"], other["salt"]) == (True, 5)
        assert not c.ask("shadow_stop", op="rms_norm", salt=5)["result"]["ranks"][0]["running"]
