"""The converter's Python API against its command line."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import opswap
import pytest
from convert.checkpoint import write
from opswap import converter
from opswap.converter import ConvertError
from opswap.ipc.process import start_time


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    rng = np.random.default_rng(7)
    names = ["model.embed_tokens", "model.layers.0.self_attn.o_proj", "model.layers.1.mlp.down_proj"]
    write(folder / "model.safetensors", {f"{n}.weight": rng.standard_normal((256, 384), np.float32) for n in names})
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    return folder


def test_convert_gives_the_report_and_the_events(source: Path, tmp_path: Path) -> None:
    events: list[converter.Event] = []
    report = opswap.convert(source, tmp_path / "out", keep=["*.1.mlp.*"], threads=2, on_event=events.append)
    assert report.quantized == 1 and report.sqnr_db is not None and report.sqnr_db > 31
    assert [one.quality is not None for one in report.tensors] == [False, True, False]
    assert report.data["options"]["keep"] == ["*.1.mlp.*"]
    assert {one["event"] for one in events} >= {"begin", "tensor", "publish", "verified", "end"}
    assert converter.read_report(tmp_path / "out") == report


def test_parts_merge_to_the_same_bytes(source: Path, tmp_path: Path) -> None:
    converter.run(source, tmp_path / "whole")
    for index in (2, 1):
        converter.run_part(source, tmp_path / "out", index, 2)
    converter.merge(source, tmp_path / "out")
    assert converter.diff(tmp_path / "whole", tmp_path / "out") == []
    converter.verify(source, tmp_path / "out")
    assert converter.inspect(tmp_path / "out")["layout"]["id"] == "fp8_block128"


def test_plan_is_typed(source: Path, tmp_path: Path) -> None:
    plan = converter.plan(source, tmp_path / "out", tp="1,2")
    assert plan.quantized == 2 and plan.tensors[0].why == "embedding"
    sglang = next(one for one in plan.data["readers"] if one["reader"] == "sglang")
    assert "LlamaForCausalLM" in sglang["problems"][0]["problem"]
    assert converter.plan(source, for_="vllm").data["options"]["for"] == "vllm"
    with pytest.raises(ConvertError, match="LlamaForCausalLM looks for weight_scale"):
        opswap.convert(source, tmp_path / "out", for_="sglang")
    assert plan.data["room"]["enough"] is True and not (tmp_path / "out").exists()
    assert converter.diff(source, source) == []


def test_a_refusal_is_an_exception_with_the_code(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError) as raised:
        opswap.convert(source / "nothing", tmp_path / "out")
    assert raised.value.code == "OPSWAP_E_SOURCE" and raised.value.remedy
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.code, again.message, again.remedy) == ("OPSWAP_E_SOURCE", raised.value.message, raised.value.remedy)
    with pytest.raises(ConvertError, match="OPSWAP_E_CANNOT_CONVERT"):
        converter.plan(source, to="no_layout")
    for ask in (converter.run, converter.plan):
        with pytest.raises(ConvertError, match="unknown option") as raised:
            ask(source, tmp_path / "out", no_option=1)
        assert raised.value.code == "OPSWAP_E_USAGE" and "--help" in raised.value.remedy


def test_without_a_command_line_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    monkeypatch.setenv("OPSWAP_CLI", "")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("opswap._converter_process.__file__", "/nowhere/a/b/c/converter.py")
    with pytest.raises(ConvertError, match="not on PATH") as raised:
        converter.inspect(source)
    assert raised.value.code == "OPSWAP_E_NO_CONVERTER" and "OPSWAP_CLI" in raised.value.remedy
    monkeypatch.setenv("OPSWAP_CLI", "/nowhere/cli.js")
    with pytest.raises(ConvertError, match="node cannot be started") as raised:
        converter.inspect(source)
    assert raised.value.code == "OPSWAP_E_NO_CONVERTER"


PARENT = """
import sys
from opswap import converter
converter.diff(sys.argv[1], sys.argv[1])
"""


def test_a_question_ends_with_whoever_asked_it(source: Path, tmp_path: Path) -> None:
    """The command is a stand-in that says what it was given, and then waits for its input to end."""
    stand_in = tmp_path / "cli.js"
    stand_in.write_text(
        "const { appendFileSync } = require('fs');"
        f"appendFileSync({str(tmp_path / 'words')!r}, [process.pid, ...process.argv.slice(2)].join(' '));"
        "process.stdin.on('end', () => process.exit(1)).resume();"
    )
    env = {**os.environ, "OPSWAP_CLI": str(stand_in)}
    command = [sys.executable, "-c", PARENT, str(source)]
    words = ""
    with subprocess.Popen(command, env=env) as parent:
        while not words:
            assert parent.poll() is None
            time.sleep(0.02)
            words = (tmp_path / "words").read_text() if (tmp_path / "words").exists() else ""
        parent.kill()
    assert "--until-eof" in words
    deadline = time.monotonic() + 30
    while start_time(int(words.split()[0])) is not None:
        assert time.monotonic() < deadline, "the command lives on"
        time.sleep(0.02)


def test_no_run_outlives_its_caller(source: Path, tmp_path: Path) -> None:
    # In the converter's place: says that it runs, then waits for the end of its input.
    stand_in = tmp_path / "opswap"
    folder = repr(str(tmp_path))
    stand_in.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\nhere = pathlib.Path({folder})\n"
        "(here / 'started').touch()\nsys.stdin.read()\n(here / 'ended').touch()\n"
    )
    stand_in.chmod(0o755)
    program = textwrap.dedent("""
        import sys
        from opswap import converter
        converter.run(sys.argv[1], sys.argv[2])
    """)
    env = {**os.environ, "OPSWAP_CLI": str(stand_in)}
    with subprocess.Popen([sys.executable, "-c", program, source, tmp_path / "out"], env=env) as caller:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        caller.send_signal(signal.SIGKILL)
    for _ in range(1000):
        if (tmp_path / "ended").exists():
            return
        time.sleep(0.01)
    pytest.fail("the converter's input did not end with its caller")
