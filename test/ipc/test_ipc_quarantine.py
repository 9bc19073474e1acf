"""Quarantine through a real agent: recorded calls on the library's own implementations in another process, and what the
engine keeps, refuses and forgets."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import opswap
import pytest
from ipc_fakes import FakeRanks, client, engine
from opswap.ipc.quarantine import keeper
from opswap.ipc.quarantine.files import recordings_of, remove_older
from opswap.ipc.quarantine.keeper import MOST_AGE
from opswap.ipc.quarantine.supervisor import Ended
from opswap.ipc.watch import RECORDINGS

ROW = {"kind": "python", "path": "/none.py", "op": "rms_norm", "name": "mine", "digest": "1" * 64}


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three calls of rms_norm."""
    folder = tmp_path_factory.mktemp("recorded")
    folder.chmod(0o700)
    opswap.record_start("rms_norm", folder, share_of_calls=1.0)
    for rows in (1, 4, 16):
        x = np.random.default_rng(rows).standard_normal((rows, 24)).astype(np.float32)
        opswap.call("rms_norm", np.empty_like(x), x, np.ones(24, np.float32), 1e-5)
    while opswap.record_status("rms_norm")["files"] < 3:
        time.sleep(0.001)
    opswap.record_stop("rms_norm")
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, which the engine's environment names."""
    made = tmp_path / "recordings"
    made.mkdir(mode=0o700)
    for file in recorded.iterdir():
        (made / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv(RECORDINGS, str(made))
    return made


def quarantine(c: Any, impl: str = "cpu", **more: Any) -> dict[str, Any]:
    return c.ask("quarantine", op="rms_norm", impl=impl, **more)


def test_a_candidate_that_is_right_passes_and_it_is_kept(runtime: Path, folder: Path) -> None:
    with engine(FakeRanks()), client(runtime / "e.sock", 60_000) as c:
        told = quarantine(c)["result"]
        result = told["result"]
        assert (told["epoch"], result["verdict"], result["reason"], result["calls"]) == (0, "passed", "", 3)
        # What is active is the candidate itself, so the yardstick is control.
        assert (result["control"], result["refused"]) == ("ref", [])
        assert sorted(result["buckets"]) == ["T1 H32 float32", "T16 H32 float32", "T4 H32 float32"]
        assert all(0 <= row["candidate_worst"] < 1 and row["control_worst"] < 1 for row in result["references"])
        assert quarantine(c, "ref", control="ref")["result"]["result"]["bit_equal"]
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        kept = c.ask("quarantine_status", op="rms_norm")["result"]["results"]
        assert [row["impl"] for row in kept] == ["ref", "cpu"] and kept[1] == result
        assert c.ask("quarantine_status", op="linear")["result"]["results"] == []


def test_what_cannot_be_is_refused_in_words(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RECORDINGS, raising=False)
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        off = quarantine(c)["error"]
        assert off["code"] == "OPSWAP_E_QUARANTINE" and RECORDINGS in off["remedy"]
        assert "did you mean ref" in quarantine(c, "reff")["error"]["message"]
        assert quarantine(c, control="nothing")["error"]["code"] == "OPSWAP_E_NO_IMPL"
        assert c.ask("quarantine", op="rms_nrm", impl="cpu")["error"]["code"] == "OPSWAP_E_NO_OP"
    monkeypatch.setenv(RECORDINGS, str(tmp_path))
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert "record start rms_norm" in quarantine(c)["error"]["remedy"]


def of_another_version(data: bytes) -> bytes:
    return data.replace(b'"op_version":"1"', b'"op_version":"7"')


SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another version": (of_another_version, "recorded with version 7 of rms_norm, here is 1"),
    "cut": (lambda data: data[:-4], "it was cut"),
    "a huge header": (lambda data: (1 << 40).to_bytes(8, "little") + data[8:], "claims a header of 1099511627776"),
    "another shape": (
        lambda data: data.replace(
            rb"[4,24],\"strides\":[24,1],\"stored\":true", rb"[4,25],\"strides\":[24,1],\"stored\":true"
        ),
        "not hold",
    ),
    "no recording": (lambda _: (2).to_bytes(8, "little") + b"{}", "is no recording"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_recording_that_cannot_be_used_is_left_out_and_named(runtime: Path, folder: Path, what: str) -> None:
    spoil, reason = SPOILED[what]
    file = next(folder.glob("*-T4-*"))
    file.write_bytes(spoil(file.read_bytes()))
    with engine(FakeRanks()), client(runtime / "e.sock", 60_000) as c:
        result = quarantine(c)["result"]["result"]
        assert (result["verdict"], result["calls"]) == ("passed", 2)
        assert result["refused"][0]["file"] == file.name and reason in result["refused"][0]["reason"]
        for other in folder.iterdir():
            if other != file:
                other.unlink()
        refused = quarantine(c)["error"]
        assert refused["code"] == "OPSWAP_E_TENSOR_FILE" and reason in refused["message"]


def lines(*stages: dict[str, Any]) -> Ended:
    head: list[dict[str, Any]] = [{"stage": "start"}, {"stage": "load"}, {"stage": "recording", "number": 0}]
    return Ended([*head, {"stage": "read", "bucket": "T1 H32 float32"}, *stages])


def ends(monkeypatch: pytest.MonkeyPatch, ended: Ended) -> None:
    """The other process ends so."""
    monkeypatch.setattr(keeper, "supervise", lambda *_: ended)


CALL = {"stage": "call", "arm": "candidate", "place": "end"}
JUDGED = {"stage": "judged", "bit_equal": True, "has_reference": True, "control_worst": 0.5, "candidate_worst": None}


def registered(agent: Any, ranks: FakeRanks, **more: Any) -> None:
    for native in ranks.natives:
        native.impls["rms_norm"]["mine"] = ""
    agent.engine.candidates._rows[:] = [{**ROW, **more}]


def test_what_failed_is_barred_until_it_is_reset_or_passes(
    runtime: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = [{"op": "rms_norm", "impl": "ref"}]
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        died = lines(CALL, {"stage": "touched", "where": "behind the end of out"})
        died.signal = 11
        for ended in (died, lines({"stage": "fault", "kind": "wrong", "what": "out[0] is 1, expected 2"})):
            ends(monkeypatch, ended)
            result = quarantine(c, "ref")["result"]["result"]
            assert result["verdict"] == "barred"
            refused = c.ask("use", changes=use)["error"]
            assert refused["code"] == "OPSWAP_E_BARRED" and result["reason"] in refused["message"]
        ends(monkeypatch, died)
        said = quarantine(c, "ref")["result"]["result"]["reason"]
        assert said.startswith("crashed by SIGSEGV, behind the end of out, in a call, at T1 H32 float32 (rms_norm-")
        assert c.ask("reset", op="rms_norm")["result"]["lifted"][0]["impl"] == "ref"
        assert c.ask("use", changes=use)["ok"]
        quarantine(c, "ref")
        ends(monkeypatch, lines(JUDGED, {"stage": "done"}))
        assert quarantine(c, "ref")["result"]["result"]["references"][0]["candidate_worst"] is None
        assert c.ask("status")["result"]["barred"] == []


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (Ended([{"stage": "start"}], signal=9), "OPSWAP_E_QUARANTINE"),
        (lines({"stage": "call", "arm": "control"}), "OPSWAP_E_QUARANTINE"),
        (Ended([{"stage": "failed", "code": "OPSWAP_E_MISSING", "what": "no numpy"}]), "OPSWAP_E_MISSING"),
        (Ended(lines(CALL).lines, why="time"), "OPSWAP_E_TIMEOUT"),
    ],
)
def test_what_says_nothing_of_the_candidate_bars_nothing(
    runtime: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, ended: Ended, code: str
) -> None:
    ends(monkeypatch, ended)
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert quarantine(c)["error"]["code"] == code
        assert c.ask("quarantine_status")["result"]["results"] == []
        assert c.ask("status")["result"]["barred"] == []


def test_a_registered_candidate_runs_after_it_has_passed_with_its_digest(
    runtime: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(monkeypatch, lines(JUDGED, {"stage": "done"}))
    ranks = FakeRanks()
    use = [{"op": "rms_norm", "impl": "mine"}]
    with engine(ranks) as agent, client(runtime / "e.sock") as c:
        registered(agent, ranks)
        assert agent.engine.quarantine.standing("rms_norm", "mine")["state"] == "waiting"
        assert agent.engine.quarantine.standing("rms_norm", "ref")["state"] == "none"
        for refused in (
            c.ask("use", changes=use),
            c.ask("shadow_start", op="rms_norm", control="ref", candidate="mine"),
            c.ask("shadow_start", op="rms_norm", control="mine", candidate="ref"),
        ):
            assert refused["error"]["code"] == "OPSWAP_E_QUARANTINE"
            assert "opswap quarantine rms_norm mine" in refused["error"]["remedy"]
        assert ranks.active("rms_norm") == ["cpu", "cpu"]
        assert quarantine(c, "mine")["result"]["result"]["digest"] == ROW["digest"]
        assert agent.engine.quarantine.standing("rms_norm", "mine") == {"state": "passed", "reason": ""}
        assert c.ask("use", changes=use)["ok"]
        c.ask("reset")
        registered(agent, ranks, digest="2" * 64)
        assert "with this digest" in c.ask("use", changes=use)["error"]["message"]
        assert quarantine(c, "ref", control="mine")["error"]["code"] == "OPSWAP_E_FIELD"


def test_neutral_is_verified_where_a_quarantine_saw_the_same_bits(
    runtime: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends(monkeypatch, lines(JUDGED, {"stage": "done"}))
    use = {"changes": [{"op": "rms_norm", "impl": "ref"}], "neutral": "verified"}
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert "was not compared with cpu" in c.ask("use", **use)["error"]["message"]
        quarantine(c, "ref")
        isolation = c.ask("use", **use)["result"]["isolation"]
        assert isolation["outcome"] == "neutral"
        assert isolation["reason"] == "verified: rms_norm=ref bit-equal with cpu on 1 recorded calls"
        c.ask("reset")
        ends(monkeypatch, lines({**JUDGED, "bit_equal": False}, {"stage": "done"}))
        quarantine(c, "ref")
        assert "gave other bits with cpu" in c.ask("use", **use)["error"]["message"]


def test_a_file_of_results_that_cannot_be_trusted_is_as_none(runtime: Path, folder: Path) -> None:
    (runtime / "e.quarantine").write_text('{"schema": 1, "results": [{"op": "rms_norm"}]}')
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert c.ask("quarantine_status")["result"]["results"] == []


def test_recordings_are_taken_of_all_buckets_in_turn_and_old_ones_go(folder: Path, tmp_path: Path) -> None:
    for number in range(3):
        (folder / f"rms_norm-T1-H32-float32-{number}-rank0-{number}.safetensors").touch()
    (folder / "rms_norm-link-1-rank0-1.safetensors").symlink_to("/dev/zero")
    chosen = [Path(name).name for name in recordings_of(folder, "rms_norm", 4)]
    assert [name.split("-")[1] for name in chosen] == ["T1", "T16", "T4", "T1"]
    assert chosen[3].split("-")[4] == "2"
    assert recordings_of(folder, "rms", 4) == [] and recordings_of(tmp_path / "none", "rms_norm", 4) == []
    old = folder / chosen[0]
    os.utime(old, (time.time() - 100, time.time() - 100))
    assert (remove_older(folder, 50), old.exists(), len(recordings_of(folder, "rms_norm", 99))) == (1, False, 5)


def test_a_recording_that_goes_meanwhile_hides_no_other_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        name = path = "rms_norm-T1-H32-float32-9-rank0-9.safetensors"

        def stat(self, **_how: Any) -> None:
            raise FileNotFoundError

    @contextmanager
    def scandir(_path: Path) -> Iterator[list[Any]]:
        with os_scandir(folder) as entries:
            yield [Gone(), *entries]

    os_scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    assert len(recordings_of(folder, "rms_norm", 9)) == 3


def test_the_engine_removes_recordings_of_an_age(runtime: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opswap.ipc.agent.JUDGE_S", 0.01)
    monkeypatch.setenv(MOST_AGE, "50")
    old = next(folder.iterdir())
    os.utime(old, (time.time() - 100, time.time() - 100))
    with engine(FakeRanks()):
        while old.exists():
            time.sleep(0.01)
    assert len(list(folder.iterdir())) == 2
