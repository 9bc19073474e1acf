"""A real agent on a real socket, with ranks that are stand-ins."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ipc_fakes import DIGEST, ENGINE, OPS, Client, FakeRanks, client, engine
from opswap.ipc import agent as agent_module
from opswap.ipc.discovery import Registration
from opswap.ipc.errors import IpcError
from opswap.ipc.messages import LIMITS, PROTOCOL
from opswap.ipc.state import Record, StateFile


def test_every_verb_answers_as_declared(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        status = c.ask("status")["result"]
        assert (status["name"], status["pid"], status["framework"]) == ("e", os.getpid(), ENGINE)
        assert [rank["rank"] for rank in status["ranks"]] == [0, 1]
        assert len(c.ask("ops")["result"]["ranks"][1]["ops"]) == len(OPS)
        assert [row["op"] for row in c.ask("ops", op="linear")["result"]["ranks"][0]["ops"]] == ["linear"]
        why = c.ask("why", op="rms_norm")["result"]["ranks"][1]
        assert {impl["name"]: impl["reason"] for impl in why["impls"]}["sm90"] == "no usable CUDA device"
        assert c.ask("manifest")["result"]["manifest"]["schema"] == 1
        assert c.ask("doctor")["result"]["healthy"]


def test_use_switches_every_rank_and_reports_each(runtime: Path) -> None:
    ranks = FakeRanks()
    ranks.begin_step()
    with engine(ranks), client(runtime / "e.sock") as c:
        changes = [{"op": "rms_norm", "impl": "ref"}, {"op": "linear", "impl": "framework"}]
        result = c.ask("use", changes=changes)["result"]
        assert (result["epoch"], result["step"], result["changes"]) == (1, 2, changes)
        assert [ack["rank"] for ack in result["acks"]] == [0, 1]
        assert all(ack["previous"] == {"rms_norm": "cpu", "linear": "cpu"} for ack in result["acks"])
        assert c.ask("status")["result"]["choice"] == {"rms_norm": "ref", "linear": "framework"}
    assert ranks.active("rms_norm") == ["ref", "ref"]


def test_refusals_reach_the_client_with_code_ranks_and_remedy(runtime: Path) -> None:
    ranks = FakeRanks()
    ranks.natives[1].impls["rms_norm"]["ref"] = "no memory"
    with engine(ranks), client(runtime / "e.sock") as c:
        error = c.ask("use", changes=[{"op": "rms_norm", "impl": "ref"}])["error"]
        assert error["code"] == "OPSWAP_E_REFUSED"
        assert error["remedy"]
        assert error["ranks"][0]["rank"] == 1
        assert c.ask("why", op="rms_nor")["error"]["code"] == "OPSWAP_E_NO_OP"
        assert c.ask("ops", op="rms_nor")["error"]["code"] == "OPSWAP_E_NO_OP"
        twice = [{"op": "rms_norm", "impl": "ref"}, {"op": "rms_norm", "impl": "cpu"}]
        assert c.ask("use", changes=twice)["error"]["code"] == "OPSWAP_E_FIELD"
        assert c.ask("status")["result"]["counters"]["refused"] == 4


def test_one_switch_at_a_time(runtime: Path) -> None:
    ranks = FakeRanks()
    ranks.delay = lambda method: 0.4 if method == "prepare" else 0.0
    with engine(ranks), client(runtime / "e.sock") as first, client(runtime / "e.sock") as second:
        first.send("use", changes=[{"op": "rms_norm", "impl": "ref"}])
        time.sleep(0.1)
        assert second.ask("status")["result"]["switching"]
        assert second.ask("use", changes=[{"op": "linear", "impl": "ref"}])["error"]["code"] == "OPSWAP_E_BUSY"
        assert first.receive()["ok"]
        assert second.ask("use", changes=[{"op": "linear", "impl": "ref"}])["ok"]


def test_requests_beyond_a_clients_share_are_refused_at_once_and_hold_no_other_client_up(runtime: Path) -> None:
    ranks = FakeRanks()
    share = LIMITS["in_flight"]
    with engine(ranks) as agent, client(runtime / "e.sock") as c, client(runtime / "e.sock") as other:
        ranks.delay = lambda _method: 1.0
        for _ in range(share + 10):
            c.send("status")
        refused = [c.receive().get("error", {}).get("code") for _ in range(10)]
        assert other.ask("manifest")["ok"]
        assert refused == ["OPSWAP_E_BUSY"] * 10
        assert [c.receive().get("error", {}).get("code") for _ in range(share)] == [None] * share
        assert agent.counters["busy"] == 10


def test_requests_beyond_the_queue_are_refused_whoever_sends_them(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "QUEUE", 4)
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c, client(runtime / "e.sock") as other:
        ranks.delay = lambda _method: 1.0
        for _ in range(4):
            c.send("status")
        time.sleep(0.2)
        assert "all clients" in other.ask("manifest")["error"]["message"]


def test_clients_that_do_not_read_lose_replies_and_hold_nobody_up(runtime: Path) -> None:
    with engine(FakeRanks()) as agent, client(runtime / "e.sock") as good:
        deaf = zmq.Context.instance().socket(zmq.DEALER)
        deaf.setsockopt(zmq.LINGER, 0)
        deaf.setsockopt(zmq.RCVHWM, 1)
        deaf.connect(f"ipc://{runtime / 'e.sock'}")
        deaf.send(msgpack.packb({"id": 0, "verb": "hello", "protocol": PROTOCOL, "client": "deaf"}))
        for number in range(20_000):
            deaf.send(msgpack.packb({"id": number, "verb": "manifest"}))
            if number % 500 == 0:
                assert good.ask("status")["ok"]
            if agent.counters["dropped"] > 0:
                break
        assert agent.counters["dropped"] > 0
        assert good.ask("status")["ok"]
        deaf.close()


def test_hello_is_needed_and_another_protocol_is_refused(runtime: Path) -> None:
    with engine(FakeRanks()):
        stranger = Client(runtime / "e.sock")
        assert stranger.ask("status")["error"]["code"] == "OPSWAP_E_HELLO"
        error = stranger.ask("hello", protocol=PROTOCOL + 1, client="t")["error"]
        assert error["code"] == "OPSWAP_E_PROTOCOL"
        assert f"protocol {PROTOCOL};" in error["message"]
        stranger.close()


def test_big_frames_are_refused_and_huge_ones_cut_off(runtime: Path) -> None:
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        big = msgpack.packb({"id": 5, "verb": "x" * (LIMITS["request_bytes"] + 1)})
        assert c.raw(big)["error"]["code"] == "OPSWAP_E_TOO_LARGE"
        with client(runtime / "e.sock", timeout_ms=300) as huge, pytest.raises(zmq.Again):
            huge.raw(b"\x00" * (LIMITS["frame_bytes"] + 1))
        assert c.ask("status")["ok"]


def test_random_bytes_on_the_socket_never_end_the_agent(runtime: Path) -> None:
    with engine(FakeRanks()), client(runtime / "e.sock") as c:

        @given(st.binary(max_size=64))
        @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        def throw(frame: bytes) -> None:
            assert not c.raw(frame)["ok"]

        throw()
        c._socket.send_multipart([b"two", b"frames"])
        assert c.ask("status")["ok"]


def test_a_rank_that_talks_nonsense_is_an_error_not_an_end(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        ranks.fault = lambda _method, _rank, _answer: {"rank": 0}
        assert c.ask("why", op="rms_norm")["error"]["code"] == "OPSWAP_E_UNEXPECTED"
        no = {"ok": False, "code": "OPSWAP_E_ABI", "reason": "another library was loaded"}
        ranks.fault = lambda _method, rank, answer: {"rank": rank, **no} if rank else answer
        error = c.ask("ops")["error"]
        assert (error["code"], error["message"]) == (no["code"], no["reason"])
        assert c.ask("status")["result"]["unanswered"] == no["reason"]
        assert not c.ask("doctor")["result"]["healthy"]
        ranks.fault = lambda _method, _rank, _answer: None
        assert "no rank answered" in c.ask("ops")["error"]["message"]
        ranks.fault = lambda _method, _rank, answer: answer
        assert c.ask("status")["ok"]


def test_a_divergence_is_in_status_and_doctor(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        ranks.fault = lambda method, rank, answer: {**answer, "step": rank} if method == "commit" else answer
        error = c.ask("use", changes=[{"op": "rms_norm", "impl": "ref"}])["error"]
        assert error["code"] == "OPSWAP_E_DIVERGED"
        assert "different steps" in c.ask("status")["result"]["divergence"]
        report = c.ask("doctor")["result"]
        assert not report["healthy"]
        assert (report["checks"][0]["state"], report["checks"][0]["name"]) == ("fail", "switch")


def test_the_adapters_checks_are_part_of_doctor(runtime: Path) -> None:
    async def checks() -> list[dict[str, str]]:
        return [{"name": "seams", "state": "fail", "message": "rms_norm is not called", "remedy": "pass -cc"}]

    with engine(FakeRanks(), doctor=checks), client(runtime / "e.sock") as c:
        report = c.ask("doctor")["result"]
        assert not report["healthy"]
        assert report["checks"][0]["name"] == "seams"


def test_the_last_choice_is_restored_and_epochs_go_on(runtime: Path) -> None:
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        c.ask("use", changes=[{"op": "rms_norm", "impl": "ref"}])
        c.ask("use", changes=[{"op": "linear", "impl": "framework"}])
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        status = c.ask("status")["result"]
        assert status["restored"]["outcome"] == "restored"
        assert status["epoch"] == 3
        assert status["choice"] == {"rms_norm": "ref", "linear": "framework"}
    assert ranks.active("rms_norm") == ["ref", "ref"]
    assert ranks.active("linear") == ["framework", "framework"]


def record(**wrong: Any) -> bytes:
    """A state file of one record that is right but for `wrong`."""
    return json.dumps({"schema": 2, "records": [{**asdict(Record("tiny", DIGEST)), **wrong}]}).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b'{"schema": 1, "epoch": 1, "choice": {}}',
        b'{"schema": 2, "records": {}}',
        b'{"schema": 2, "records": [{"model": "m"}]}',
        record(epoch=-1),
        record(epoch=9007199254740991),  # no higher one can be told
        record(choice={"rms_norm": 5}),
        record(trial=[]),
        record(proven={"rms_norm": "ref"}),
        record(barred={"rms_norm": ["ref"]}),
        b"[" * 100_000,
        b" " * (1 << 21),
        b"\xff\xfe",
    ],
)
def test_an_unreadable_choice_means_framework_and_is_told(runtime: Path, text: bytes) -> None:
    (runtime / "e.state").write_bytes(text)
    ranks = FakeRanks()
    ranks.natives[1].impls["linear"]["framework"] = "no kernel on this rank"
    with engine(ranks), client(runtime / "e.sock") as c:
        restored = c.ask("status")["result"]["restored"]
        assert restored["outcome"] == "framework"
        assert str(runtime / "e.state") in restored["message"]
        check = next(check for check in c.ask("doctor")["result"]["checks"] if check["name"] == "saved choice")
        assert check["state"] == "warn"
    assert ranks.active("rms_norm") == ["framework"] * 2
    assert ranks.active("linear") == ["cpu"] * 2


def test_a_choice_that_is_refused_now_means_framework_too(runtime: Path) -> None:
    record = Record("tiny", DIGEST, epoch=9, choice={"rms_norm": "sm90"})
    StateFile(runtime / "e.state").save([record])
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        status = c.ask("status")["result"]
        assert "sm90 cannot run here" in status["restored"]["message"]
        assert status["epoch"] == 10
    assert ranks.active("rms_norm") == ["framework"] * 2


def test_a_choice_that_cannot_be_saved_is_counted_and_told(runtime: Path) -> None:
    with engine(FakeRanks()) as agent, client(runtime / "e.sock") as c:
        assert c.ask("use", changes=[{"op": "rms_norm", "impl": "ref"}])["ok"]
        agent.engine.memory.file.path = runtime / "nowhere" / "e.state"
        assert c.ask("use", changes=[{"op": "rms_norm", "impl": "cpu"}])["ok"], "what ran before needs no trial"
        for _ in range(500):
            if c.ask("status")["result"]["counters"].get("not_saved"):
                break
            time.sleep(0.01)
        assert c.ask("status")["result"]["counters"]["not_saved"]
        assert c.ask("doctor")["result"]["checks"][0]["name"] == "saved choice"


def test_a_switch_under_way_is_finished_before_the_agent_stops(runtime: Path) -> None:
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        ranks.delay = lambda method: 0.3 if method == "commit" else 0.0
        c.send("use", changes=[{"op": "rms_norm", "impl": "ref"}])
        while "commit" not in ranks.calls:
            time.sleep(0.01)
    assert ranks.active("rms_norm") == ["ref"] * 2
    assert StateFile(runtime / "e.state").load()[0].choice == {"rms_norm": "ref"}


def test_a_second_engine_of_the_name_is_refused_and_another_name_is_not(runtime: Path) -> None:
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        with pytest.raises(IpcError) as caught, engine(FakeRanks()):
            pass
        assert caught.value.code == "OPSWAP_E_ENGINE_TAKEN"
        assert str(os.getpid()) in caught.value.message
        with engine(FakeRanks(), "other"), client(runtime / "other.sock") as second:
            assert second.ask("status")["result"]["name"] == "other"
        assert c.ask("status")["ok"]


HOLDER = """
import sys, time
from opswap.ipc.discovery import Registration
registration = Registration("engine", "e")
registration.socket.touch()
registration.publish()
print("ready", flush=True)
time.sleep(60)
"""


def test_a_name_held_by_another_process_is_free_again_when_it_is_killed(runtime: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(IpcError) as caught:
            Registration("engine", "e")
        assert caught.value.code == "OPSWAP_E_ENGINE_TAKEN"
        assert f"process {holder.pid}" in caught.value.message
    finally:
        holder.kill()
        holder.communicate()
    assert (runtime / "e.sock").exists()
    with engine(FakeRanks()), client(runtime / "e.sock") as c:
        assert c.ask("status")["ok"]


def test_the_record_says_who_answers_and_shows_life(runtime: Path) -> None:
    with engine(FakeRanks()):
        told = json.loads((runtime / "e.json").read_text())
        assert (told["name"], told["service"], told["pid"], told["protocol"]) == ("e", "engine", os.getpid(), PROTOCOL)
        os.utime(runtime / "e.json", (0, 0))
        deadline = time.monotonic() + 10
        while (runtime / "e.json").stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (runtime / "e.json").stat().st_mtime > 0
    assert not (runtime / "e.json").exists()
    assert not (runtime / "e.sock").exists()


@pytest.mark.parametrize("name", ["", "../e", "a/b", ".hidden", "x" * 65, "a b", "e\n"])
def test_names_that_cannot_be_file_names(runtime: Path, name: str) -> None:
    with pytest.raises(IpcError) as caught:
        Registration("engine", name)
    assert caught.value.code == "OPSWAP_E_USAGE"
    assert "OPSWAP_ENGINE_NAME" in caught.value.remedy


def test_a_folder_that_others_can_enter_is_refused(runtime: Path) -> None:
    runtime.chmod(0o755)
    with pytest.raises(IpcError) as caught:
        Registration("engine", "e")
    assert caught.value.code == "OPSWAP_E_RUNTIME_DIR"
    assert "mode 755" in caught.value.message
    runtime.chmod(0o700)


def test_a_link_instead_of_a_folder_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime / "real").mkdir(mode=0o700)
    (runtime / "link").symlink_to(runtime / "real")
    monkeypatch.setenv("OPSWAP_RUNTIME_DIR", str(runtime / "link"))
    with pytest.raises(IpcError) as caught:
        Registration("engine", "e")
    assert caught.value.code == "OPSWAP_E_RUNTIME_DIR"


def test_a_path_too_long_for_a_socket_is_refused_with_the_way_out(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSWAP_RUNTIME_DIR", str(runtime / ("x" * 100)))
    with pytest.raises(IpcError) as caught:
        Registration("engine", "e")
    assert "OPSWAP_RUNTIME_DIR" in caught.value.remedy


@pytest.mark.parametrize("place", ["/dev/null/opswap", "/proc/opswap"])
def test_a_folder_that_cannot_be_made_is_refused_with_the_systems_words(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("OPSWAP_RUNTIME_DIR", place)
    with pytest.raises(IpcError) as caught:
        Registration("engine", "e")
    assert caught.value.code == "OPSWAP_E_RUNTIME_DIR"
    assert place in caught.value.message and "OPSWAP_RUNTIME_DIR" in caught.value.remedy


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_card_that_cannot_be_written_is_refused_and_leaves_nothing(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(draft: Path, *_: Any) -> None:
        draft.touch()  # as a full disk leaves it
        raise OSError(number, os.strerror(number))

    registration = Registration("engine", "e")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", refused)
        with pytest.raises(IpcError) as caught:
            registration.publish()
    registration.close()
    assert caught.value.code == "OPSWAP_E_RUNTIME_DIR" and os.strerror(number) in caught.value.message
    assert [path.name for path in runtime.iterdir()] == ["e.lock"]
