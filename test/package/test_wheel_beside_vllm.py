"""A wheel beside the real vLLM, in a copy of its locked environment, without a compiler: doctor, README's blocks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from package.conftest import minor_of
from package.installed import Installed, uv, wheel_for
from package.readme import block, variables

ENGINE = os.environ.get("OPSWAP_ENGINE_ENV", "")
pytestmark = pytest.mark.skipif(not ENGINE, reason=os.environ.get("OPSWAP_NO_ENGINE", "no environment with vLLM"))

#: vLLM's own: it would ask its makers' servers, and keep its cache in a home.
QUIET = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
START_S = 300


@pytest.fixture(scope="module")
def beside(packages: Path, clean_path: str, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The engine's environment by hard links, a second and no room (else a copy), and the wheel in it."""
    place = tmp_path_factory.mktemp("vllm")
    made = Installed(place / "env", place / "home", clean_path)
    made.home.mkdir()
    if subprocess.run(["cp", "-al", ENGINE, made.folder], check=False).returncode:
        shutil.rmtree(made.folder)
        shutil.copytree(ENGINE, made.folder, symlinks=True)
    uv("pip", "install", "--quiet", "--python", made.python, wheel_for(packages, minor_of(str(made.python))))
    return made


def test_the_doctor_says_that_all_is_active(beside: Installed) -> None:
    code, checks = beside.doctor(**variables(block("On a CPU")), **QUIET)
    assert (code, {name: row["message"] for name, row in checks.items() if row["state"] != "ok"}) == (0, {})
    assert "linear" in checks["seams"]["message"] and "cpu_shims" in checks["seams"]["message"]


def test_the_gpu_block_takes_attention_too(beside: Installed) -> None:
    """Not run: there is no card. The doctor tells what the block would install, and that there is no device."""
    assert "--attention-backend OPSWAP" in block("On a GPU")
    exported = variables(block("On a GPU"))
    assert not [name for name in exported if "CPU" in name or exported[name] == "cpu"]
    code, checks = beside.doctor(**exported, **QUIET)
    assert code == 0 and [name for name, row in checks.items() if row["state"] == "fail"] == []
    told = checks["seams"]["message"]
    assert {"norm", "activation", "rotary", "attention", "linear"} <= set(told.split(";")[0].split(", "))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def served(beside: Installed, tmp_path: Path) -> Iterator[str]:
    """README's block for a CPU as it stands, with a model and a port of its own; ended with all that it started."""
    port, model = free_port(), os.environ["OPSWAP_MODEL"]
    commands = block("On a CPU")
    assert "--enforce-eager" in commands
    started = commands.replace(
        "vllm serve MODEL", f"exec vllm serve {model} --host 127.0.0.1 --port {port} --max-model-len 512"
    )
    assert started != commands
    more = {**QUIET, "VLLM_CPU_KVCACHE_SPACE": "1", "OPSWAP_RUNTIME_DIR": str(tmp_path / "run")}
    if "VLLM_CACHE_ROOT" in os.environ:
        more["VLLM_CACHE_ROOT"] = os.environ["VLLM_CACHE_ROOT"]
    log = tmp_path / "serve.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            ["sh", "-e", "-c", started], env=beside.environment(**more), cwd=beside.home,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"vLLM did not start:\n{log.read_text()[-3000:]}")


def test_the_cpu_block_serves_the_demo_model(served: str) -> None:
    question = {"role": "user", "content": "What is the capital of France? Answer in one sentence."}
    body = {"model": os.environ["OPSWAP_MODEL"], "messages": [question], "temperature": 0, "max_tokens": 24}
    request = urllib.request.Request(
        f"{served}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert "Paris" in json.load(answer)["choices"][0]["message"]["content"]
