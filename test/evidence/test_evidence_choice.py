"""What the library does with planted evidence: built for the emulator, called with tensors of its device."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from evidence.planted import evidence, plant, tree

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("choice"))


def answers(root: Path) -> tuple[dict, dict[str, str]]:
    """`why` about sm90 with the device's choice, and what came of each call."""
    build = root / "out"
    options = [
        "-DOPSWAP_EMULATE=ON",
        "-DOPSWAP_NODE=OFF",
        "-DOPSWAP_LEVELS=portable",
        f"-DOPSWAP_PYTHON={sys.executable}",
    ]
    _run("cmake", "-G", "Ninja", "-S", str(root / "native"), "-B", str(build), *options)
    _run("cmake", "--build", str(build), "--parallel", "2")
    include = f"-I{root / 'native/include'}"
    program = build / "choice"
    _run("g++", "-std=c++20", include, str(HERE / "choice.cpp"), f"-L{build}", "-lopswap", "-o", str(program))
    text, *lines = _run("env", f"LD_LIBRARY_PATH={build}", str(program)).splitlines()
    why = json.loads(text)
    sm90 = next(impl for impl in why["impls"] if impl["name"] == "sm90")
    return {**sm90, "choice": why.get("device_choice")}, dict(line.split(": ", 1) for line in lines)


def _run(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}: {ran.stdout[-3000:]}{ran.stderr[-3000:]}"
    return ran.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not on PATH; npm test puts it there")
def test_evidence_decides_who_takes_device_tensors(root: Path) -> None:
    sm90, calls = answers(root)
    assert sm90["reason"] == "experimental: there is no evidence from a device yet, so it runs only when named"
    assert (sm90["correct_on"], sm90["timed_on"], sm90["choice"]) == ([], [], None)
    assert (calls["named"], calls["host"]) == ("ran", "ran")
    assert calls["device"].endswith("it computes on the CPU and the tensors are on another device")

    plant(root, evidence(root, "H200"), "H200")  # the emulator plays an H100
    sm90, calls = answers(root)
    assert (sm90["correct_on"], sm90["timed_on"], sm90["choice"]) == (["H200"], ["H200"], "sm90")
    assert sm90["reason"] == (
        "its speed was not measured on this device, only on H200, so a framework's own kernel is preferred"
    )
    assert (calls["named"], calls["device"], calls["host"]) == ("ran", "ran", "ran")
    assert calls["asked for cpu"].endswith("it computes on the CPU and the tensors are on another device")
