"""The package in real MPI workers, in both ways that model classes reach them. Runs in the engine's environment, with
the MPI of env/mpi.lock beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import running  # noqa: I001
import host

MPI = os.environ.get("OPSWAP_MPI_ENV", "")
pytestmark = pytest.mark.skipif(not MPI, reason="OPSWAP_MPI_ENV does not name the environment of env/mpi.lock")


def served(table: str, folder: Path, version: str | None = None, **env: str) -> tuple[dict[str, Any], str]:
    """What serve.py found with two workers."""
    place = host.build(table, folder, version)
    (packages,) = Path(MPI).glob("lib/python3.*/site-packages")
    variables = {
        "MORE": str(packages),
        "PATH": f"{MPI}/bin{os.pathsep}{os.environ['PATH']}",
        "MPI4PY_LIBMPI": f"{MPI}/lib/libmpi.so.12",
        **env,
    }
    return running.run(place, "fakehost/serve.py", table, str(running.custom_module()), "2", env=variables)


@pytest.mark.parametrize(("table", "handed"), [("1.2", "<class 'opswap."), ("main", "opswap.adapters.trtllm.zoo")])
def test_workers_build_models_that_run_opswaps_ops(table: str, handed: str, tmp_path: Path) -> None:
    found, _ = served(table, tmp_path)
    assert found["handed"]["LlamaForCausalLM"].startswith(handed)
    assert len(found["workers"]) == 2
    for worker in found["workers"]:
        assert worker["pid"] != found["pid"]
        assert (worker["class"], worker["module"]) == ("OpswapLlamaForCausalLM", "opswap.adapters.trtllm.zoo")
        assert worker["trouble"] == "" and worker["method"] == "OpswapLinearMethod"
        assert worker["installed"] == ["activation", "attention", "linear", "norm"]
        assert worker["calls"] == {"fused_add_rms_norm": 1, "linear": 1, "rms_norm": 1, "silu_and_mul": 1}


def test_a_version_without_a_table_is_refused_in_the_workers(tmp_path: Path) -> None:
    found, said = served("1.2", tmp_path, version="1.3.0")
    assert "opswap is not active in process" in said, "the import itself raises nothing"
    for worker in found["workers"]:
        assert "TensorRT-LLM 1.3.0 is outside the tested range" in worker["refused"]
        assert "OPSWAP_TRTLLM_STOCK=1" in worker["refused"]
