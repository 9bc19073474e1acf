"""The sidecar over real sockets and real shared memory, with a stand-in for the library."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import ml_dtypes
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ipc_fakes import FakeError, FakeNative, client
from opswap.ipc.errors import IpcError
from opswap.ipc.library import Library, LibraryOps
from opswap.ipc.op_server import OpServer
from opswap.ipc.process import is_alive, start_time
from opswap.ipc.segments import SHM, Segments, sweep
from opswap.ipc.tensors import ITEM_BYTES, Arguments

ME = f"opswap-{os.getpid()}-{start_time(os.getpid())}"


@contextmanager
def segment(number: int, data: bytes, mode: int = 0o600) -> Iterator[str]:
    """A segment as a client makes it."""
    path = SHM / f"{ME}-{number}"
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
    try:
        os.write(descriptor, data)
        yield path.name
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def array(address: int, dtype: str, shape: list[int], strides: list[int]) -> np.ndarray[Any, Any]:
    """A descriptor that a test can read and write."""
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else "uint8" if dtype.startswith("float8") else dtype)
    reach = 0 if 0 in shape else 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    memory = (ctypes.c_char * (reach * kind.itemsize)).from_address(address)
    steps = [step * kind.itemsize if n > 1 else kind.itemsize for n, step in zip(shape, strides, strict=True)]
    return np.ndarray(shape, kind, memory, 0, steps)


def unpack(args: list[Any], segments: Segments) -> list[Any]:
    return Arguments(array, segments).unpack(args)[0]


@contextmanager
def running(library: FakeNative, threads: int = 4) -> Iterator[OpServer]:
    sidecar = OpServer(library, array, "sidecar", threads)
    thread = threading.Thread(target=sidecar.run)
    thread.start()
    try:
        yield sidecar
    finally:
        sidecar.stop()
        thread.join(20)
        assert not thread.is_alive()


def ref(name: str, shape: list[int], dtype: str = "float32", offset: int = 0, strides: list[int] | None = None) -> Any:
    steps = strides
    if steps is None:
        steps = [int(np.prod(shape[d + 1 :])) for d in range(len(shape))]
    return {"segment": name, "offset": offset, "dtype": dtype, "shape": shape, "strides": steps}


def double(_op: str, args: tuple[Any, ...], _impl: str | None) -> None:
    args[0][...] = 2 * args[1]


def test_a_call_works_on_the_clients_memory_in_place(runtime: Path) -> None:
    library = FakeNative()
    library.on_call = double
    data = np.arange(6, dtype=np.float32)
    with running(library), client(runtime / "sidecar.sock") as c, segment(1, bytes(24)) as out:
        with segment(2, data.tobytes()) as source:
            reply = c.ask("call", op="rms_norm", args=[ref(out, [2, 3]), ref(source, [2, 3])])
        assert reply["result"]["impl"] == "cpu"
        assert reply["result"]["elapsed_ns"] > 0
        assert np.array_equal(np.fromfile(SHM / out, np.float32), 2 * data)


def test_every_kind_of_argument_and_the_chosen_implementation_reach_the_library(runtime: Path) -> None:
    library = FakeNative()
    seen: list[Any] = []
    library.on_call = lambda op, args, impl: seen.append((op, args, impl))
    with running(library), client(runtime / "sidecar.sock") as c:
        args = [1, 2.5, True, None, "text", -(2**63)]
        assert c.ask("call", op="linear", impl="ref", args=args)["result"]["impl"] == "ref"
    assert seen == [("linear", tuple(args), "ref")]
    assert [type(arg) for arg in seen[0][1]] == [type(arg) for arg in args]


def test_a_quantised_argument_that_the_op_has_not_is_refused() -> None:
    import opswap

    ops = LibraryOps(cast(Library, opswap), opswap.Tensor, "sidecar")
    codes = {
        "OPSWAP_E_ARGUMENT": ("gemm_fp8_block128", [None] * 7, {"wieght": "fp8_block128"}),
        "OPSWAP_E_COUNT": ("gemm_fp8_block128", [None] * 4, {"weight": "fp8_block128"}),
        "OPSWAP_E_NO_OP": ("gemm_of_no_room", [None] * 7, {"weight": "fp8_block128"}),
    }
    for code, call in codes.items():
        with pytest.raises(IpcError) as caught:
            ops.quantised(*call)
        assert caught.value.code == code


def test_the_librarys_refusal_keeps_its_code_and_gets_the_manifests_remedy(runtime: Path) -> None:
    library = FakeNative()

    def refuse(_op: str, _args: tuple[Any, ...], _impl: str | None) -> None:
        raise FakeError("OPSWAP_E_SHAPE", "rms_norm: weight has 3 elements, expected 4")

    library.on_call = refuse
    with running(library), client(runtime / "sidecar.sock") as c:
        error = c.ask("call", op="rms_norm", args=[])["error"]
        assert error == {
            "code": "OPSWAP_E_SHAPE",
            "message": "rms_norm: weight has 3 elements, expected 4",
            "remedy": "compare the shapes",
        }


def test_a_defect_in_an_op_is_told_and_the_sidecar_lives(runtime: Path) -> None:
    library = FakeNative()
    library.on_call = lambda *_: 1 // 0
    with running(library), client(runtime / "sidecar.sock") as c:
        error = c.ask("call", op="rms_norm", args=[])["error"]
        assert error["code"] == "OPSWAP_E_UNEXPECTED"
        assert "ZeroDivisionError" in error["message"]
        assert c.ask("status")["ok"]


def test_the_other_verbs(runtime: Path) -> None:
    with running(FakeNative()), client(runtime / "sidecar.sock") as c:
        assert c.ask("status")["result"]["framework"] is None
        assert c.ask("manifest")["ok"]
        assert len(c.ask("ops", op="linear")["result"]["ranks"][0]["ops"]) == 1
        assert c.ask("why", op="linear")["result"]["ranks"][0]["active"] == "cpu"
        assert c.ask("why", op="lineal")["error"]["code"] == "OPSWAP_E_NO_OP"
        assert c.ask("use", changes=[])["error"]["code"] == "OPSWAP_E_VERB"


def test_a_long_op_of_one_client_does_not_hold_up_another(runtime: Path) -> None:
    library = FakeNative()
    release = threading.Event()
    library.on_call = lambda op, *_: release.wait(20) if op == "linear" else None
    with running(library), client(runtime / "sidecar.sock") as slow, client(runtime / "sidecar.sock") as quick:
        slow.send("call", op="linear", args=[])
        for _ in range(20):
            assert quick.ask("call", op="rms_norm", args=[])["ok"]
        release.set()
        assert slow.receive()["ok"]


def test_many_clients_at_once_each_get_their_own_answers(runtime: Path) -> None:
    library = FakeNative()
    library.on_call = double
    clients, calls = 6, 60

    def work(number: int) -> None:
        data = np.full(64, number, np.float32)
        with (
            client(runtime / "sidecar.sock") as c,
            segment(10 + 2 * number, bytes(256)) as out,
            segment(11 + 2 * number, data.tobytes()) as source,
        ):
            waiting = set()
            for _ in range(calls):
                waiting.add(c.send("call", op="rms_norm", args=[ref(out, [64]), ref(source, [64])]))
                if len(waiting) >= 8:
                    waiting.remove(c.receive()["id"])
            while waiting:
                waiting.remove(c.receive()["id"])
            assert np.array_equal(np.fromfile(SHM / out, np.float32), 2 * data)

    with running(library) as sidecar:
        with ThreadPoolExecutor(clients) as pool:
            for done in [pool.submit(work, number) for number in range(clients)]:
                done.result(60)
        assert sidecar.counters["requests"] == clients * (calls + 1)


def test_requests_under_way_are_answered_before_the_sidecar_ends(runtime: Path) -> None:
    library = FakeNative()
    started = threading.Event()

    def slow(*_: Any) -> None:
        started.set()
        time.sleep(0.3)

    library.on_call = slow
    with running(library) as sidecar, client(runtime / "sidecar.sock") as c:
        c.send("call", op="rms_norm", args=[])
        started.wait(5)
        sidecar.stop()
        assert c.receive()["ok"]


def test_a_second_sidecar_of_the_name_is_refused(runtime: Path) -> None:
    with running(FakeNative()), pytest.raises(IpcError) as caught:
        OpServer(FakeNative(), array)
    assert caught.value.code == "OPSWAP_E_ENGINE_TAKEN"
    assert "--name" in caught.value.remedy and "OPSWAP_ENGINE_NAME" not in caught.value.remedy


def test_a_second_sidecar_of_another_name_runs_beside_the_first(runtime: Path) -> None:
    with running(FakeNative()):
        other = OpServer(FakeNative(), array, "other", 1)
        thread = threading.Thread(target=other.run)
        thread.start()
        with client(runtime / "other.sock") as c:
            assert c.ask("status")["result"]["name"] == "other"
        other.stop()
        thread.join(20)


def test_a_refused_implementation_names_the_command_that_asks_this_sidecar(runtime: Path) -> None:
    library = FakeNative()

    def refuse(_op: str, _args: tuple[Any, ...], _impl: str | None) -> None:
        raise FakeError("OPSWAP_E_NO_IMPL", "rms_norm has no implementation reff")

    library.on_call = refuse
    with running(library), client(runtime / "sidecar.sock") as c:
        error = c.ask("call", op="rms_norm", impl="reff", args=[])["error"]
    assert "`opswap why rms_norm --sidecar sidecar`" in error["remedy"]


def sparse(number: int, size: int) -> Path:
    """A segment of a client that asked for no memory, so that it has none."""
    path = SHM / f"{ME}-{number}"
    path.touch(0o600)
    os.truncate(path, size)
    return path


def test_a_segment_without_memory_is_given_it_before_it_is_touched() -> None:
    path = sparse(40, 1 << 20)
    try:
        assert path.stat().st_blocks == 0
        Segments().get(path.name)
        assert path.stat().st_blocks * 512 >= 1 << 20
    finally:
        path.unlink()


def test_a_segment_that_dev_shm_has_no_room_for_is_refused_and_not_a_sigbus(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _offset: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = sparse(41, 1 << 20)
    monkeypatch.setattr(os, "posix_fallocate", full)
    try:
        with pytest.raises(IpcError) as caught:
            Segments().get(path.name)
    finally:
        path.unlink()
    assert caught.value.code == "OPSWAP_E_MEMORY"
    assert re.search(r"needs 1048576 bytes of /dev/shm, which has \d+ of \d+ free", caught.value.message)
    assert "--shm-size" in caught.value.remedy


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EMFILE])
def test_a_dev_shm_that_cannot_be_looked_into_does_not_end_a_sidecar(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refused(_path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "scandir", refused)
    monkeypatch.setattr("opswap.ipc.op_server.SWEEP_S", 0.01)
    with running(FakeNative()), client(runtime / "sidecar.sock") as c:
        while c.ask("status")["result"]["counters"]["chores_failed"] < 3:
            pass
    assert [os.strerror(number) in record.message for record in caplog.records if record.levelname == "WARNING"] == [
        True
    ]


def test_without_dev_shm_there_is_nothing_to_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opswap.ipc.segments.SHM", tmp_path / "none")
    assert sweep() == []


def test_a_runtime_folder_that_is_taken_away_does_not_end_a_sidecar(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opswap.ipc.op_server.SWEEP_S", 0.01)
    with running(FakeNative()) as sidecar, client(runtime / "sidecar.sock") as c:
        shutil.rmtree(runtime)
        while not sidecar.counters["chores_failed"]:
            time.sleep(0.01)
        assert c.ask("status")["ok"]


STARTED = [sys.executable, "-m", "opswap.ipc.sidecar"]


@pytest.mark.parametrize(
    ("args", "env", "code", "told"),
    [
        (["--name", "a/b"], {}, 2, "OPSWAP_E_USAGE"),
        (["--variants", "no_such"], {}, 2, "--variants no_such: expected one of"),
        ([], {"OPSWAP_RUNTIME_DIR": "/dev/null/opswap"}, 1, "OPSWAP_E_RUNTIME_DIR"),
        ([], {"OPSWAP_RUNTIME_DIR": "/proc/opswap"}, 1, "OPSWAP_E_RUNTIME_DIR"),
    ],
)
def test_a_sidecar_that_cannot_start_says_so_in_a_line(
    runtime: Path, args: list[str], env: dict[str, str], code: int, told: str
) -> None:
    ran = subprocess.run([*STARTED, *args], env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert ran.returncode == code
    assert told in ran.stderr
    assert re.fullmatch(r"opswap: .+ \[OPSWAP_E_\w+\]\n  .+\n", ran.stderr)


def test_a_sidecar_ends_with_the_other_end_of_its_input(runtime: Path) -> None:
    command = [*STARTED, "--until-eof"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, text=True) as process:
        assert process.stderr is not None and process.stdin is not None
        assert "answers" in process.stderr.readline()
        process.stdin.close()
        assert process.wait(60) == 0
    assert not (runtime / "sidecar.sock").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shape": [7]}, "ends at byte 28, the segment has 24"),
        ({"offset": 24}, "ends at byte 48"),
        ({"offset": 2}, "not a multiple of the 4 bytes"),
        ({"shape": [2, 2], "strides": [5, 1]}, "ends at byte 28"),
        ({"shape": [2**53 - 1], "strides": [2**53 - 1]}, "the segment has 24"),
        ({"shape": [2, 3], "strides": [1]}, "shape has 2 dimensions, strides have 1"),
        ({"dtype": "float33"}, "expected a dtype of"),
        ({"segment": f"{ME}-77"}, "No such file"),
    ],
)
def test_references_outside_their_segment_are_refused(change: dict[str, Any], told: str) -> None:
    with segment(3, bytes(24)) as name, pytest.raises(IpcError) as caught:
        unpack([{**ref(name, [6]), **change}], Segments())
    assert told in caught.value.message


@given(
    st.lists(st.integers(0, 5), max_size=4),
    st.lists(st.integers(0, 2**40), min_size=4, max_size=4),
    st.integers(0, 40),
    st.sampled_from(sorted(ITEM_BYTES)),
)
@settings(max_examples=300, deadline=None)
def test_an_array_never_reaches_past_its_segment(shape: list[int], strides: list[int], slot: int, dtype: str) -> None:
    item = ITEM_BYTES[dtype]
    wanted = ref("", shape, dtype, slot * item, strides[: len(shape)])
    with segment(4, bytes(96)) as name:
        try:
            view = unpack([{**wanted, "segment": name}], kept := Segments())[0]
        except IpcError:
            return
        last = sum((extent - 1) * step for extent, step in zip(shape, strides, strict=False))
        assert 0 in shape or slot * item + (last + 1) * item <= 96
        assert list(view.shape) == shape
        view.fill(1)
        assert len(kept) == 1


def test_strides_offset_and_bfloat16_mean_what_they_say() -> None:
    data = np.arange(12, dtype=np.float32).astype(ml_dtypes.bfloat16)
    with segment(5, data.tobytes()) as name:
        view = unpack([ref(name, [2, 3], "bfloat16", 2, [6, 2])], kept := Segments())[0]
        assert len(kept) == 1
        assert view.astype(np.float32).tolist() == [[1, 3, 5], [7, 9, 11]]


def test_a_view_is_made_once_and_their_number_is_bounded() -> None:
    made: list[Any] = []
    arguments = Arguments(lambda *what: made.append(what) or what, kept := Segments())
    with segment(31, bytes(4096)) as name:
        for _ in range(3):
            arguments.unpack([ref(name, [4]), ref(name, [2, 2])])
        assert len(made) == 2
        for offset in range(0, 4000, 4):
            arguments.unpack([ref(name, [1], offset=offset)])
        assert len(kept.get(name).views) <= 64


def test_a_view_is_not_found_by_a_shape_and_strides_that_do_not_fit_each_other() -> None:
    arguments = Arguments(array, Segments())
    with segment(34, bytes(4096)) as name:
        arguments.unpack([ref(name, [2, 3], strides=[4, 1])])
        with pytest.raises(IpcError) as caught:
            arguments.unpack([ref(name, [2, 3, 4], strides=[1])])
    assert caught.value.code == "OPSWAP_E_STRIDE"


def test_an_empty_tensor_may_lie_at_the_end_but_not_past_it() -> None:
    with segment(32, bytes(24)) as name:
        assert unpack([ref(name, [0, 2**53 - 1], offset=24, strides=[1, 1])], Segments())[0].size == 0
        with pytest.raises(IpcError):
            unpack([ref(name, [0], offset=28)], Segments())


def test_a_segment_that_others_may_write_is_refused() -> None:
    with segment(6, bytes(8)) as name:
        (SHM / name).chmod(0o666)
        with pytest.raises(IpcError) as caught:
            Segments().get(name)
    assert "mode 666" in caught.value.message


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    link = SHM / f"{ME}-8"
    link.symlink_to(tmp_path / "secret")
    try:
        with pytest.raises(IpcError):
            Segments().get(link.name)
    finally:
        link.unlink()


def test_a_segment_that_shrinks_is_refused_instead_of_read() -> None:
    arguments = Arguments(array, Segments())
    with segment(9, bytes(8192)) as name:
        args = [ref(name, [8192], "uint8")]
        arguments.unpack(args)
        os.truncate(SHM / name, 100)
        with pytest.raises(IpcError) as caught:
            arguments.unpack(args)
    assert "the segment has 100" in caught.value.message


def test_mappings_are_kept_in_bounded_number_and_dropped_when_the_name_is_gone() -> None:
    kept = Segments(kept=2)
    with contextlib.ExitStack() as stack:
        names = [stack.enter_context(segment(20 + n, bytes([n] * 16))) for n in range(3)]
        unpacked = [Arguments(array, kept).unpack([ref(name, [16], "uint8")]) for name in names]
        assert len(kept) == 2
        assert [int(args[0][0]) for args, _held in unpacked] == [0, 1, 2], "a dropped mapping lives while it is held"
    kept.forget_removed()
    assert len(kept) == 0


CLIENT = """
import os, sys, time
from opswap.ipc.process import start_time
for n in range(3):
    fd = os.open(f"/dev/shm/opswap-{os.getpid()}-{start_time(os.getpid())}-{n}", os.O_CREAT | os.O_RDWR, 0o600)
    os.truncate(fd, 1 << 20)
print("ready", flush=True)
time.sleep(60)
"""


def mine(pid: int) -> list[str]:
    return [path.name for path in SHM.glob(f"opswap-{pid}-*")]


def test_a_client_that_is_killed_leaves_nothing_behind(runtime: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with running(FakeNative()) as sidecar, segment(30, bytes(8)) as alive:
            assert len(mine(child.pid)) == 3, "the living are left alone"
            # Nobody has waited for the child yet: a process that is only a name in the table owns nothing either.
            child.send_signal(signal.SIGKILL)
            deadline = time.monotonic() + 10
            while mine(child.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert mine(child.pid) == []
            assert (SHM / alive).exists()
            assert sidecar.counters["swept"] >= 3
    finally:
        child.kill()
        child.communicate()


def test_the_sweep_runs_at_start_and_knows_a_pid_that_is_used_again(runtime: Path) -> None:
    reused = SHM / f"opswap-{os.getpid()}-1-1"
    other = SHM / f"not-opswap-{os.getpid()}-1-1"
    reused.write_bytes(b"x")
    other.write_bytes(b"x")
    try:
        with running(FakeNative()):
            assert not reused.exists()
            assert other.exists()
        assert sweep() == []
    finally:
        reused.unlink(missing_ok=True)
        other.unlink()


def test_start_times_tell_processes_apart() -> None:
    start = start_time(os.getpid())
    assert start is not None and is_alive(os.getpid(), start)
    assert not is_alive(os.getpid(), "1")
    assert start_time(2**22 + 1) is None


def test_a_frame_of_two_parts_is_dropped(runtime: Path) -> None:
    with running(FakeNative()) as sidecar, client(runtime / "sidecar.sock") as c:
        c._socket.send_multipart([b"two", msgpack.packb({"id": 1, "verb": "status"})])
        assert c.ask("status")["result"]["counters"]["dropped"] == 1
        assert sidecar.counters["failed"] == 0
