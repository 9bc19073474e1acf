"""Candidates in Python, with one of each kind of fault, in quarantine: none reaches the engine."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import opswap
import pytest
from ipc_fakes import FakeRanks, client, engine
from opswap.ipc.process import start_time
from opswap.ipc.quarantine import keeper
from opswap.ipc.quarantine.files import recordings_of
from opswap.ipc.quarantine.supervisor import supervise
from opswap.ipc.quarantine.verdict import verdict
from opswap.ipc.watch import RECORDINGS
from planted_candidates import planted

#: What is said of each. The others are in `npm run bench -- quarantine`.
SAID = {
    "crashes": "crashed by SIGSEGV in a call",
    "writes far behind its output": "crashed by SIGSEGV, behind the end of out,",
    "writes one byte before its output": "wrote outside out",
    "writes its input": "in its input input, which the op only reads",
    "gives NaN": "out is not finite where it has to be: out[0, 23] is nan",
    "is wrong": "elements of out are beyond the tolerance; the worst: out[0, 0] is",
    "takes memory": "ran out of memory",
    "takes shared memory": "took more memory than it is given",
    "exits at once": "ended its process with code 0 in a call",
    "raises": "ValueError: planted",
    "prints and is wrong": "beyond the tolerance",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recorded")
    made.chmod(0o700)
    opswap.record_start("rms_norm", made, share_of_calls=1.0)
    x = np.random.default_rng(1).standard_normal((1, 24)).astype(np.float32)
    opswap.call("rms_norm", np.empty_like(x), x, np.ones(24, np.float32), 1e-5)
    while not opswap.record_status("rms_norm")["files"]:
        time.sleep(0.001)
    opswap.record_stop("rms_norm")
    return made


def judged(folder: Path, row: dict[str, Any], timeout_s: float = 120) -> dict[str, Any]:
    files = recordings_of(folder, "rms_norm", 8)
    sizes = {"memory_bytes": 1 << 30, "call_bytes": 1 << 30, "threads": 1}
    job = {"op": "rms_norm", "control": "ref", "candidate": row["name"], "row": row, "variants": [], **sizes}
    return verdict(supervise({**job, "recordings": files}, timeout_s, threading.Event()), files)


@pytest.mark.parametrize("kind", SAID)
def test_each_fault_bars_with_its_reason(folder: Path, tmp_path: Path, kind: str) -> None:
    found = judged(folder, planted(tmp_path, kind))
    assert found["verdict"] == "barred" and SAID[kind] in found["reason"]
    assert "T1 H32 float32 (rms_norm-" in found["reason"]


def test_what_it_started_ends_with_it(folder: Path, tmp_path: Path) -> None:
    row = planted(tmp_path, "forks and is wrong")
    assert "beyond the tolerance" in judged(folder, row)["reason"]
    started = int(Path(f"{row['path']}.pid").read_text())
    while start_time(started) is not None:
        time.sleep(0.01)


def test_what_hangs_is_ended(folder: Path, tmp_path: Path) -> None:
    found = judged(folder, planted(tmp_path, "hangs"), timeout_s=20)
    assert found["verdict"] == "barred" and found["reason"].startswith("hung for 10 s in a call")


def test_a_file_that_was_changed_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    row = planted(tmp_path, "good")
    with pytest.raises(Exception, match="the file was changed"):
        judged(folder, {**row, "digest": "0" * 64})


def test_an_engine_answers_meanwhile_and_ends_what_is_under_way(
    runtime: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RECORDINGS, str(folder))
    ranks, rows = FakeRanks(), [planted(tmp_path, kind) for kind in ("good", "crashes", "sleeps")]
    for native in ranks.natives:
        native.impls["rms_norm"] |= {row["name"]: "" for row in rows}
    ended = []
    monkeypatch.setattr(keeper, "supervise", lambda *args: ended.append(supervise(*args)) or ended[-1])
    with engine(ranks) as agent, client(runtime / "e.sock", 120_000) as c, client(runtime / "e.sock") as other:
        agent.engine.candidates._rows[:] = rows
        good = c.ask("quarantine", op="rms_norm", impl="good")["result"]["result"]
        assert (good["verdict"], good["bit_equal"]) == ("passed", False)
        assert c.ask("use", changes=[{"op": "rms_norm", "impl": "good"}])["ok"]
        assert c.ask("quarantine", op="rms_norm", impl="crashes")["result"]["result"]["verdict"] == "barred"
        barred = c.ask("use", changes=[{"op": "rms_norm", "impl": "crashes"}])["error"]
        assert barred["code"] == "OPSWAP_E_BARRED" and ranks.active("rms_norm") == ["good", "good"]
        c.send("quarantine", op="rms_norm", impl="sleeps")
        while not agent.engine.quarantine._running.locked():
            time.sleep(0.01)
        assert other.ask("quarantine", op="rms_norm", impl="good")["error"]["code"] == "OPSWAP_E_BUSY"
        assert other.ask("status")["result"]["choice"] == {"rms_norm": "good"}
    assert ended[-1].why == "stopped"
