"""Second builds and Python kernels, all real but the engine: signatures, another process, the library, torch.

Named for the engine's environment, which has cryptography and torch.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import opswap
import pytest
import second_build
import torch
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ipc_fakes import DIGEST, FakeContext, FakeRanks, client, engine, let_pass
from opswap.ipc.candidate_probe import probe
from opswap.ipc.errors import IpcError
from opswap.ipc.rank import RankSwitch
from opswap.ipc.rank_candidates import RankCandidates

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/silu_by_sigmoid.py"
LIBRARY = b"what lies in the file of a library"
FACTS = {"pack_version": "0.1.0", "abi_major": 1, "build_digest": "b" * 64, "ops": {"rms_norm": 1, "other": 7}}


async def loads(_row: dict[str, Any]) -> None:
    """Another process, played."""


class RealRanks(FakeRanks):
    """One rank, whose library is the real one."""

    def __init__(self) -> None:
        super().__init__(1)
        self.natives, self.contexts = [opswap], [FakeContext(0)]
        self.make()
        self.candidates = [RankCandidates(opswap, 0)]
        self.switches = [RankSwitch(opswap, self.contexts[0])]


@pytest.fixture
def allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def write(*folders: Path, **keys: str) -> None:
        configuration = tmp_path / "candidates.json"
        configuration.write_text(json.dumps({"folders": list(map(str, folders)), "trusted_keys": keys}))
        configuration.chmod(0o600)
        monkeypatch.setenv("OPSWAP_CANDIDATES", str(configuration))

    return write


def public_text(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


@pytest.fixture
def signed(tmp_path: Path, allow: Callable[..., None]) -> Callable[..., Path]:
    """A folder that is as it should be, but for what is `changed` in the description."""
    key = Ed25519PrivateKey.generate()
    folder = tmp_path / "builds/second"
    folder.mkdir(parents=True)
    allow(tmp_path / "builds", me=public_text(key), other=public_text(Ed25519PrivateKey.generate()))

    def write(**changed: Any) -> Path:
        (folder / "libopswap.so").write_bytes(LIBRARY)
        second_build.describe(folder, FACTS, hashlib.sha256(LIBRARY).hexdigest(), **changed)
        signature = key.sign((folder / "build.json").read_bytes())
        (folder / "build.json.sig").write_text(base64.b64encode(signature).decode() + "\n")
        return folder

    return write


def test_a_signed_build_is_registered(runtime: Path, signed: Callable[..., Path]) -> None:
    ranks = FakeRanks()
    with engine(ranks, probe=loads) as agent, client(runtime / "e.sock") as c:
        rows = c.ask("register", path=str(signed()))["result"]["candidates"]
        assert [(row["op"], row["impl"], row["kind"]) for row in rows] == [("rms_norm", "cpu@second", "build")]
        assert rows[0]["digest"] == hashlib.sha256(LIBRARY).hexdigest()
        assert agent.engine.candidates.rows()[0]["signer"] == "me"
        assert ranks.natives[1].builds == [(str(signed() / "libopswap.so"), "second", "b" * 64)]


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("changed", "damage", "code", "why"),
    [
        ({}, lambda f: flipped(f / "libopswap.so"), "OPSWAP_E_CANDIDATE", "build.json says"),
        ({}, lambda f: flipped(f / "build.json"), "OPSWAP_E_SIGNATURE", "(me, other)"),
        ({}, lambda f: (f / "build.json.sig").write_text("no base64!"), "OPSWAP_E_SIGNATURE", "not base64"),
        ({}, lambda f: (f / "build.json.sig").write_text("AAAA"), "OPSWAP_E_SIGNATURE", "is not signed"),
        ({}, lambda f: (f / "build.json.sig").unlink(), "OPSWAP_E_CANDIDATE", "build.json.sig"),
        ({}, lambda f: (f / "libopswap.so").unlink(), "OPSWAP_E_CANDIDATE", "libopswap.so"),
        ({"abi_major": 2}, None, "OPSWAP_E_ABI", "ABI 2, this engine has 1"),
        ({"ops": {"rms_norm": 2}}, None, "OPSWAP_E_BUILD", "version 2 of rms_norm, this engine has 1"),
        ({"build_digest": DIGEST}, None, "OPSWAP_E_CANDIDATE", "runs already"),
        ({"name": "avx2"}, None, "OPSWAP_E_CANDIDATE", "instruction set"),
        ({"name": "../x"}, None, "OPSWAP_E_CANDIDATE", "schema or name"),
        ({"library": "../libopswap.so"}, None, "OPSWAP_E_CANDIDATE", "libopswap*.so"),
        ({"schema": 2}, None, "OPSWAP_E_CANDIDATE", "schema 1"),
        ({"ops": []}, None, "OPSWAP_E_CANDIDATE", "ops is not"),
        ({"more": 1}, None, "OPSWAP_E_CANDIDATE", "expected the fields"),
    ],
)
def test_a_build_that_is_not_as_it_was_signed(
    runtime: Path,
    signed: Callable[..., Path],
    changed: dict[str, Any],
    damage: Callable[[Path], object] | None,
    code: str,
    why: str,
) -> None:
    folder = signed(**changed)
    if damage is not None:
        damage(folder)
    ranks = FakeRanks()
    with engine(ranks, probe=loads), client(runtime / "e.sock") as c:
        error = c.ask("register", path=str(folder))["error"]
        assert (error["code"], why in error["message"]) == (code, True), error
    assert "register" not in ranks.calls


def test_a_key_that_is_not_trusted(runtime: Path, signed: Callable[..., Path], allow: Callable[..., None]) -> None:
    folder = signed()
    allow(folder.parent, other=public_text(Ed25519PrivateKey.generate()))
    with engine(FakeRanks(), probe=loads), client(runtime / "e.sock") as c:
        assert c.ask("register", path=str(folder))["error"]["code"] == "OPSWAP_E_SIGNATURE"
    allow(runtime, me="A" * 43 + "=")
    with engine(FakeRanks(), probe=loads), client(runtime / "e.sock") as c:
        assert "none of the folders" in c.ask("register", path=str(folder))["error"]["message"]


def test_the_worked_example_computes_its_op(runtime: Path, allow: Callable[..., None]) -> None:
    allow(EXAMPLE.parent)
    with engine(RealRanks()) as agent, client(runtime / "e.sock", 120_000) as c:
        (row,) = c.ask("register", path=str(EXAMPLE), op="silu_and_mul", name="mine")["result"]["candidates"]
        assert row["digest"] == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
        assert row["usable"] and row["dispatch_ns"] > 0
        x = torch.randn(7, 128, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        out = torch.empty(7, 64)
        opswap.call("silu_and_mul", out, x.float(), impl="mine")
        right = torch.nn.functional.silu(x[:, :64]) * x[:, 64:]
        torch.testing.assert_close(out.double(), right, atol=1e-5, rtol=1.3e-6)
        let_pass(agent, "silu_and_mul", "mine")
        assert c.ask("use", changes=[{"op": "silu_and_mul", "impl": "mine"}])["ok"]
        assert c.ask("reset", op="silu_and_mul")["ok"]


def until_gone(pid: int) -> None:
    """Or a zombie that nobody has asked for."""
    stat = Path("/proc") / str(pid) / "stat"
    for _ in range(500):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    raise AssertionError("it goes on")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import os\nos.abort()\n", "crashed another process while it was loaded: SIGABRT"),
        ("import os\nos._exit(3)\n", "ended another process, with status 3"),
        ("print('noise')\nimport time\ntime.sleep(60)\n", "was not loaded within 5 s"),
        ("import os\nos.kill(os.getpid(), 40)\n", "crashed another process while it was loaded: signal 40"),
        ("import not_there_at_all\n", "ModuleNotFoundError"),
        ("import mmap\nmmap.mmap(-1, 9 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n", "allocate memory"),
    ],
)
def test_what_ends_its_process_ends_another_one(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = {"kind": "python", "path": str(file), "op": "silu_and_mul", "name": "bad", "digest": digest}
    with pytest.raises(IpcError, match=why):
        asyncio.run(probe(row, timeout=5))


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_that_process_is_started_by_the_loop_that_an_engine_has(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """A server's agent runs on uvloop. What the candidate has started is in its group, and ends with it."""
    told, file = tmp_path / "pid", tmp_path / "mine.py"
    text = (
        "import os, subprocess\n"
        f"started = subprocess.Popen(['sleep', '60'])\nopen({str(told)!r}, 'w').write(f'{{started.pid}}')\n"
        "assert os.getpgid(started.pid) == os.getpid() != os.getsid(0)\n"
    ) + EXAMPLE.read_text()
    file.write_text(text)
    row = {"kind": "python", "path": str(file), "op": "silu_and_mul", "name": "mine"}
    running = loop()
    try:
        running.run_until_complete(probe({**row, "digest": hashlib.sha256(text.encode()).hexdigest()}, timeout=60))
    finally:
        running.close()
    until_gone(int(told.read_text()))


def test_that_process_may_use_every_core_where_the_engine_binds_its_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM's way on a CPU: OpenMP, which torch brings, binds the process that loads it where it is told."""
    for name, bound in {"GOMP_CPU_AFFINITY": "0", "OMP_PLACES": "{0}", "OMP_PROC_BIND": "close"}.items():
        monkeypatch.setenv(name, bound)
    file = tmp_path / "looks.py"
    text = "import os, torch\nraise ValueError(f'may use {sorted(os.sched_getaffinity(0))}')\n"
    file.write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = {"kind": "python", "path": str(file), "op": "silu_and_mul", "name": "looks", "digest": digest}
    with pytest.raises(IpcError, match=re.escape(f"may use {sorted(os.sched_getaffinity(0))}")):
        asyncio.run(probe(row, timeout=60))


def test_that_process_ends_with_an_engine_that_is_killed(tmp_path: Path) -> None:
    told, file = tmp_path / "pid", tmp_path / "hangs.py"
    text = f"import os, time\nopen({str(told)!r}, 'w').write(f'{{os.getpid()}}.')\ntime.sleep(60)\n"
    file.write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = {"kind": "python", "path": str(file), "op": "silu_and_mul", "name": "bad", "digest": digest}
    script = f"import asyncio\nfrom opswap.ipc.candidate_probe import probe\nasyncio.run(probe({row!r}))\n"
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        while not (told.exists() and told.read_text().endswith(".")):
            assert parent.poll() is None
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
    until_gone(int(told.read_text()[:-1]))


def test_an_op_that_is_full_says_so(tmp_path: Path) -> None:
    """In another process, whose op stays full."""
    (tmp_path / "mine.py").write_text(EXAMPLE.read_text())
    script = (
        "import hashlib, sys, opswap\n"
        "from pathlib import Path\n"
        "from opswap.ipc.rank_candidates import RankCandidates\n"
        "while len(opswap.why('silu_and_mul')['impls']) < 16:\n"
        "    opswap.register_impl('silu_and_mul', f'n{len(opswap.why(\"silu_and_mul\")[\"impls\"])}', None)\n"
        "digest = hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest()\n"
        "row = {'kind': 'python', 'path': sys.argv[1], 'op': 'silu_and_mul', 'name': 'mine', 'digest': digest}\n"
        "print(RankCandidates(opswap, 0).register(row, False))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "mine.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "OPSWAP_E_MEMORY" in said and "has 16 implementations already" in said


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not on PATH; npm test puts it there")
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")
def test_from_the_key_to_the_running_build(runtime: Path, tmp_path: Path, allow: Callable[..., None]) -> None:
    """Keys and signature by the command line, everything else as in an engine."""
    build, key = tmp_path / "build", tmp_path / "my.key"
    build.mkdir()
    shutil.copy(second_build.build(tmp_path / "tree"), build)

    def cli(*args: str) -> dict[str, Any]:
        command = ["node", str(ROOT / "dist/opswap.cjs"), "build-key", *args, "--json"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    made = cli("new", str(key))
    cli("sign", str(build), "--key", str(key), "--name", "tuned")
    allow(build, me=made["public_key"])
    with engine(RealRanks()) as agent, client(runtime / "e.sock", 120_000) as c:
        rows = c.ask("register", path=str(build))["result"]["candidates"]
        assert [(row["impl"], row["kind"], row["usable"]) for row in rows] == [
            ("ref@tuned", "build", True),
            ("cpu@tuned", "build", True),
        ]
        let_pass(agent, "rms_norm", "cpu@tuned")
        assert c.ask("use", changes=[{"op": "rms_norm", "impl": "cpu@tuned"}])["ok"]
        x, out = torch.ones(3, 64), torch.empty(3, 64)
        opswap.call("rms_norm", out, x, torch.ones(64), 0.0)
        torch.testing.assert_close(out, torch.full((3, 64), 0.5**0.5))  # epsilon + 1 is the planted change
        assert c.ask("reset", op="rms_norm")["ok"]


def test_what_is_missing_is_said(runtime: Path, signed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with engine(FakeRanks(), probe=loads), client(runtime / "e.sock") as c:
        error = c.ask("register", path=str(signed()))["error"]
        assert error["code"] == "OPSWAP_E_MISSING" and "pip install cryptography" in error["message"]
