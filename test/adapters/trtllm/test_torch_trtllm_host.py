"""The package as a whole on the fake host, without workers: refusals, what a user may set, and reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import running  # noqa: I001
import host
from opswap.adapters.trtllm import doctor


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {table: host.build(table, tmp_path_factory.mktemp("host")) for table in host.VERSIONS}
    made["1.3"] = host.build("1.2", tmp_path_factory.mktemp("host"), "1.3.0")
    made["drifted"] = host.build("1.2", tmp_path_factory.mktemp("host"))
    file = made["drifted"] / "tensorrt_llm/_torch/modules/linear.py"
    file.write_text(file.read_text().replace("lora_params=None", "lora=None"))
    return made


def served(place: Path, table: str = "1.2", **env: str) -> tuple[dict[str, Any], str]:
    found, said = running.run(place, "fakehost/serve.py", table, str(running.custom_module()), "0", env=env)
    return found["workers"][0], said


def test_the_lines_of_the_example_find_the_tree_and_the_folder(places: dict[str, Path]) -> None:
    """Steps 1 and 2 of config.example, as they stand there."""
    text = (running.custom_module().parents[1] / "config.example").read_text()
    lines = [line for line in text.splitlines() if line.startswith(("python -m", "MODULE="))]
    assert len(lines) == 2
    paths = os.pathsep.join([str(places["1.2"]), os.environ["PYTHONPATH"]])
    env = {**os.environ, "PYTHONPATH": paths, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-ec", "\n".join([*lines, 'echo "$MODULE"'])]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-2:] == ["healthy", str(running.custom_module())]


@pytest.mark.parametrize("table", host.VERSIONS)
def test_a_host_as_the_table_says_is_healthy(table: str, places: dict[str, Path]) -> None:
    assert {row["state"] for row in doctor.tree_checks(places[table])} == {"ok", "warn"}


def test_a_report_tells_that_the_ops_run(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    worker, _ = served(places["main"], "main", OPSWAP_TRTLLM_REPORT=str(tmp_path), OPSWAP_TRTLLM_USE="linear=ref")
    assert worker["calls"]["linear"] == 1
    report = json.loads((tmp_path / "rank-0.json").read_text())
    assert report["calls"]["linear"] == 1 and report["plugin"]["engine_version"] == "1.4.0rc1"
    assert doctor.main(["--reports", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "active on 1 ranks" in told and "installed but never called: attention" in told
    assert doctor.main(["--reports", str(places["1.2"])]) == 1
    assert "no rank has written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "env", "why"),
    [
        ("1.3", {}, "TensorRT-LLM 1.3.0 is outside the tested range"),
        ("drifted", {}, "Linear.apply_linear: its parameters differ: lora_params is gone; lora is new"),
        ("1.2", {"OPSWAP_TRTLLM_SKIP": "attn"}, "OPSWAP_TRTLLM_SKIP names attn; the seams are norm, activation"),
        ("1.2", {"OPSWAP_TRTLLM_USE": "linear"}, "OPSWAP_TRTLLM_USE has 'linear', expected OP=IMPL"),
        ("1.2", {"OPSWAP_TRTLLM_USE": "linear=fast"}, "OPSWAP_E_"),
    ],
)
def test_what_it_cannot_do_is_reported_at_import_and_refused_at_the_model(
    place: str, env: dict[str, str], why: str, places: dict[str, Path]
) -> None:
    worker, said = served(places[place], **env)
    assert "opswap is not active in process" in said and why in said
    assert why in worker["refused"] and "or set OPSWAP_TRTLLM_STOCK=1" in worker["refused"]


def test_the_engines_own_kernels_serve_where_the_user_asked_for_it(places: dict[str, Path]) -> None:
    worker, said = served(places["1.3"], OPSWAP_TRTLLM_STOCK="1")
    assert "opswap is not active" in said
    assert worker["method"] == "UnquantizedLinearMethod" and worker["calls"] == {}


def test_a_seam_that_the_user_leaves_to_the_engine(places: dict[str, Path]) -> None:
    worker, _ = served(places["drifted"], OPSWAP_TRTLLM_SKIP="linear")
    assert worker["method"] == "UnquantizedLinearMethod"
    assert set(worker["calls"]) == {"fused_add_rms_norm", "rms_norm", "silu_and_mul"}


def test_an_architecture_that_is_not_there(places: dict[str, Path]) -> None:
    worker, said = served(places["main"], "main", OPSWAP_TRTLLM_MODELS="LlamaForCausalLM,LamaForCausalLM")
    assert "OPSWAP_TRTLLM_MODELS names LamaForCausalLM, which TensorRT-LLM does not have; take it out" in said
    assert "LamaForCausalLM" in worker["refused"]
