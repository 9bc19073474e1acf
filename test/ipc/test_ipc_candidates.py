"""Candidates: what an engine takes, from where, and what it says of what it does not take. Ranks are stand-ins; files,
configuration and the process that loads a candidate first are real."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ipc_fakes import DIGEST, Client, FakeRanks, client, engine, let_pass
from opswap.ipc.errors import IpcError
from opswap.ipc.state import Record, StateFile

KERNEL = "def rms_norm(out, x):\n    out[:] = x\n"


async def loads(_row: dict[str, Any]) -> None:
    """Another process, played: stand-ins for the library are not known there."""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the engine's configuration lists."""
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    configuration = tmp_path / "candidates.json"
    configuration.write_text(json.dumps({"folders": [str(folder)]}))
    configuration.chmod(0o600)
    monkeypatch.setenv("OPSWAP_CANDIDATES", str(configuration))
    return folder


def put(folder: Path, text: str = KERNEL, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(text)
    file.chmod(0o600)
    return file


def refused(c: Client, path: object, code: str, **fields: Any) -> str:
    """The message of a refusal; nothing is listed afterwards."""
    request = {"path": str(path), "op": "rms_norm", "name": "mine"} | fields
    answer = c.ask("register", **{k: v for k, v in request.items() if v is not None})
    assert not answer["ok"], answer
    assert answer["error"]["code"] == code
    assert answer["error"]["remedy"]
    kinds = {row["kind"] for row in c.ask("candidates")["result"]["candidates"]}
    assert kinds == {"library", "engine"}
    return answer["error"]["message"]


def test_a_python_file_becomes_an_implementation_of_every_rank(runtime: Path, shop: Path) -> None:
    ranks = FakeRanks()
    file = put(shop)
    with engine(ranks, probe=loads) as agent, client(runtime / "e.sock") as c:
        (row,) = c.ask("register", path=str(file), op="rms_norm", name="mine")["result"]["candidates"]
        digest = hashlib.sha256(KERNEL.encode()).hexdigest()
        assert (row["op"], row["impl"], row["kind"], row["digest"]) == ("rms_norm", "mine", "python", digest)
        assert row["usable"] and not row["active"] and row["dispatch_ns"] == 1008
        out = [0.0]
        for native in ranks.natives:
            native.functions["rms_norm", "mine"](out, [3.0])
            assert out == [3.0]
        let_pass(agent, "rms_norm", "mine")
        assert c.ask("use", changes=[{"op": "rms_norm", "impl": "mine"}])["ok"]
        (row,) = [r for r in c.ask("candidates", op="rms_norm")["result"]["candidates"] if r["impl"] == "mine"]
        assert row["active"] and row["on_trial"]
        why = c.ask("why", op="rms_norm")["result"]["ranks"][0]["impls"]
        assert {i["name"]: (i["kind"], i["digest"]) for i in why}["mine"] == ("python", digest)
        assert {i["name"]: i["kind"] for i in why}["framework"] == "engine"
        assert agent.engine.candidates.row_of("rms_norm", "mine")["path"] == str(file)
        assert agent.engine.candidates.row_of("rms_norm", "cpu") is None
        again = c.ask("register", path=str(file), op="rms_norm", name="mine")["error"]
        assert again["code"] == "OPSWAP_E_EXISTS"


def test_what_is_not_allowed_is_refused_and_says_why(runtime: Path, shop: Path, tmp_path: Path) -> None:
    file = put(shop)
    outside = put(tmp_path)
    (shop / "link.py").symlink_to(outside)
    with engine(FakeRanks(), probe=loads), client(runtime / "e.sock") as c:
        assert "none of the folders" in refused(c, outside, "OPSWAP_E_CANDIDATE")
        assert "none of the folders" in refused(c, shop / "link.py", "OPSWAP_E_CANDIDATE")
        assert "absolute" in refused(c, "mine.py", "OPSWAP_E_CANDIDATE")
        assert "no such file" in refused(c, shop / "not.py", "OPSWAP_E_CANDIDATE")
        assert "no such file" in refused(c, shop / "../kernels/not.py", "OPSWAP_E_CANDIDATE")
        assert "expected a name" in refused(c, file, "OPSWAP_E_CANDIDATE", name="cpu@mine")
        assert "which op" in refused(c, file, "OPSWAP_E_CANDIDATE", op=None)
        assert "did you mean rms_norm" in refused(c, file, "OPSWAP_E_NO_OP", op="rms_nor")
        assert "already" in refused(c, file, "OPSWAP_E_EXISTS", name="cpu")
        assert "build.json" in refused(c, shop, "OPSWAP_E_CANDIDATE", op=None)
        big = put(shop, "#" * (1 << 20) + "\n", "big.py")
        assert "1048577 bytes" in refused(c, big, "OPSWAP_E_CANDIDATE")
        file.chmod(0o620)
        assert "chmod go-w" in refused(c, file, "OPSWAP_E_CANDIDATE")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def rms_norm(out, y):\n    pass\n", "argument 2 is 'y', expected 'x'"),
        ("def rms_norm(out):\n    pass\n", "argument 2, 'x', is missing"),
        ("def rms_norm(out, x, more=1):\n    pass\n", "argument 3, 'more', is one more"),
        ("def rms_norm(*args):\n    pass\n", "argument 1, '*args', cannot be given by position"),
        ("async def rms_norm(out, x):\n    pass\n", "coroutine"),
        (
            "def one(out, x):\n    pass\ndef two(out, x):\n    pass\n",
            "no function 'rms_norm'; its public functions: one, two",
        ),
        ("raise ValueError('planted')\n", "raised when it was loaded: ValueError: planted"),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("def rms_norm(out, x:\n", "SyntaxError"),
    ],
)
def test_a_file_of_another_shape_is_refused(runtime: Path, shop: Path, text: str, why: str) -> None:
    with engine(FakeRanks(), probe=loads), client(runtime / "e.sock") as c:
        assert why in refused(c, put(shop, text), "OPSWAP_E_CANDIDATE")


def test_the_function_may_have_another_name(runtime: Path, shop: Path) -> None:
    two = "def one(out, x):\n    pass\ndef two(out, x):\n    out[0] = 2\n"
    with engine(FakeRanks(1), probe=loads), client(runtime / "e.sock") as c:
        only = put(shop, "from math import sqrt\ndef other(out, x):\n    pass\n", "only.py")
        assert c.ask("register", path=str(only), op="rms_norm", name="only")["ok"]
        named = put(shop, two, "two.py")
        assert c.ask("register", path=str(named), op="rms_norm", name="named", function="two")["ok"]


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("{", 0o600, "is not JSON"),
        ("[]", 0o600, "expected an object"),
        ('{"folders": [], "more": 1}', 0o600, "expected an object"),
        ('{"folders": ["kernels"]}', 0o600, "absolute paths"),
        ('{"folders": [], "trusted_keys": {"me": "AAAA"}}', 0o600, "32 bytes"),
        ('{"folders": []}', 0o622, "others may write it"),
        ("#" * (65 << 10), 0o600, "at most 65536"),
    ],
)
def test_a_configuration_that_is_not_sound(runtime: Path, shop: Path, text: str, mode: int, why: str) -> None:
    configuration = Path(os.environ["OPSWAP_CANDIDATES"])
    configuration.write_text(text)
    configuration.chmod(mode)
    with engine(FakeRanks(1), probe=loads), client(runtime / "e.sock") as c:
        assert why in refused(c, put(shop), "OPSWAP_E_CANDIDATE")


def test_without_a_configuration(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPSWAP_CANDIDATES", raising=False)
    with engine(FakeRanks(1), probe=loads), client(runtime / "e.sock") as c:
        assert "OPSWAP_CANDIDATES=FILE" in refused(c, put(tmp_path), "OPSWAP_E_CANDIDATE")


def test_a_file_that_changes_before_the_ranks_load_it(runtime: Path, shop: Path) -> None:
    file = put(shop)

    async def changes(_row: dict[str, Any]) -> None:
        put(shop, KERNEL + "# more\n")

    with engine(FakeRanks(), probe=changes), client(runtime / "e.sock") as c:
        assert "was changed" in refused(c, file, "OPSWAP_E_CANDIDATE")


def test_what_another_process_says_counts(runtime: Path, shop: Path) -> None:
    async def crashes(row: dict[str, Any]) -> None:
        raise IpcError("OPSWAP_E_CANDIDATE", f"{row['path']}: crashed another process")

    ranks = FakeRanks()
    with engine(ranks, probe=crashes), client(runtime / "e.sock") as c:
        assert "crashed" in refused(c, put(shop), "OPSWAP_E_CANDIDATE")
    assert ranks.calls.count("register") == 1  # they look, and do not load


def test_ranks_that_do_not_all_follow(runtime: Path, shop: Path) -> None:
    ranks = FakeRanks()
    register_impl = ranks.natives[1].register_impl

    def fails(*_given: Any) -> None:
        raise IpcError("OPSWAP_E_MEMORY", "rms_norm: has 16 implementations already")

    ranks.natives[1].register_impl = fails
    file = put(shop)
    with engine(ranks, probe=loads) as agent, client(runtime / "e.sock") as c:
        error = c.ask("register", path=str(file), op="rms_norm", name="mine")["error"]
        assert (error["code"], [r["rank"] for r in error["ranks"]]) == ("OPSWAP_E_REFUSED", [1])
        (row,) = [r for r in c.ask("candidates", op="rms_norm")["result"]["candidates"] if r["impl"] == "mine"]
        assert not row["usable"] and row["reason"] == "not registered on rank 1"
        let_pass(agent, "rms_norm", "mine")
        assert c.ask("use", changes=[{"op": "rms_norm", "impl": "mine"}])["error"]["code"] == "OPSWAP_E_REFUSED"
        ranks.natives[1].register_impl = register_impl
        assert c.ask("register", path=str(file), op="rms_norm", name="mine")["ok"]
        assert c.ask("use", changes=[{"op": "rms_norm", "impl": "mine"}])["ok"]


@pytest.mark.parametrize(
    ("proven", "active", "told"),
    [
        (["framework", "mine"], "framework", "last known good is active: rms_norm=framework"),
        (["mine"], "cpu", "what the library chose at load is active"),
    ],
)
def test_a_saved_choice_that_is_not_registered_any_more(
    runtime: Path, proven: list[str], active: str, told: str
) -> None:
    StateFile(runtime / "e.state").save([Record("tiny", DIGEST, 4, {"rms_norm": "mine"}, proven={"rms_norm": proven})])
    ranks = FakeRanks()
    with engine(ranks), client(runtime / "e.sock") as c:
        restored = c.ask("status")["result"]["restored"]
        assert restored["outcome"] == "refused"
        assert "rms_norm=mine is not there any more" in restored["message"]
        assert restored["message"].endswith(told)
        assert ranks.active("rms_norm") == [active, active]
