"""What is wrong with an installation is a sentence with the remedy, never a stack of Python's or the loader's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from package.conftest import PYTHONS
from package.installed import Installed, wheel_for

IMPORT = "import opswap"
OLDEST, NEWEST = next(iter(PYTHONS), ""), next(reversed(PYTHONS), "")
OTHERS = pytest.mark.skipif(len(PYTHONS) < 2, reason="this machine has one Python")


@pytest.fixture
def broken(newest: Installed, tmp_path: Path) -> Path:
    """A copy of the installed package to be damaged, in a folder for PYTHONPATH."""
    shutil.copytree(newest.package, tmp_path / "opswap")
    return tmp_path


def error_of(newest: Installed, folder: Path) -> str:
    return newest.last_error(IMPORT, PYTHONPATH=str(folder))


@OTHERS
def test_pip_refuses_a_wheel_of_another_python(packages: Path, newest: Installed) -> None:
    first = wheel_for(packages, OLDEST)
    pip = [sys.executable, "-m", "pip", f"--python={newest.python}", "install", "--no-index", "--no-deps", str(first)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{first.name} is not a supported wheel on this platform" in done.stderr


@OTHERS
def test_files_of_another_python(packages: Path, newest: Installed, tmp_path: Path) -> None:
    """As where PYTHONPATH names a folder that another Python's pip filled."""
    first, last = OLDEST, NEWEST
    with zipfile.ZipFile(wheel_for(packages, first)) as wheel:
        wheel.extractall(tmp_path)
    said = error_of(newest, tmp_path)
    assert said.startswith("opswap.errors.NotLoadable: OPSWAP_E_NATIVE: ")
    assert f"is made for Python {dotted(first)}, this is Python {dotted(last)}" in said
    assert f"install the wheel that has {last} in its name" in said


def dotted(tag: str) -> str:
    return f"{tag[2]}.{tag[3:]}"


@pytest.mark.parametrize("lost", [["libopswap.so"], ["_opswap"], ["_opswap", "libopswap.so"]])
def test_half_removed(newest: Installed, broken: Path, lost: list[str]) -> None:
    for name in lost:
        for file in (broken / "opswap").glob(f"{name}*"):
            file.unlink()
    said = error_of(newest, broken)
    assert f"OPSWAP_E_NATIVE: the installation in {broken / 'opswap'} lacks {' and '.join(lost)}" in said
    assert "delete that folder and install the wheel again" in said


def test_a_library_that_the_loader_refuses(newest: Installed, broken: Path) -> None:
    (broken / "opswap/libopswap.so").write_bytes(b"not a library" * 100)
    said = error_of(newest, broken)
    assert "OPSWAP_E_NATIVE" in said and "invalid ELF header" in said and "docs/install.md" in said


def test_a_library_of_another_version(newest: Installed, broken: Path) -> None:
    """The library's own version is one string; in a copy it gets another one."""
    library, version = (
        broken / "opswap/libopswap.so",
        newest.says("import opswap; print(opswap.version()['pack_version'])"),
    )
    data = library.read_bytes()
    where = data.index(b"\0" + version.encode() + b"\0") + 1
    library.write_bytes(data[:where] + b"9" + data[where + 1 :])
    said = error_of(newest, broken)
    assert (
        f"OPSWAP_E_INSTALL: libopswap.so is of opswap 9{version[1:]}, the package in {broken / 'opswap'} of {version}"
        in said
    )
    assert "install one wheel, whole, again" in said


TWICE = """
import sys, opswap
for name in [n for n in sys.modules if n.split(".")[0] == "opswap"]: del sys.modules[name]
sys.path.insert(0, PLACE)
import opswap
"""


def test_two_copies_in_one_process(newest: Installed, broken: Path) -> None:
    said = newest.last_error(f"PLACE = {str(broken)!r}\n{TWICE}")
    assert f"OPSWAP_E_INSTALL: another copy of opswap is loaded in this process, from {newest.package}" in said
    assert f"so the one in {broken / 'opswap'} cannot be: uninstall one of them" in said


def test_the_doctor_names_an_installation_that_hides_another(newest: Installed, broken: Path) -> None:
    metadata = next(newest.package.parent.glob("opswap-*.dist-info"))
    shutil.copytree(metadata, broken / metadata.name)
    _, checks = newest.doctor(PYTHONPATH=str(broken))
    assert checks["opswap"]["state"] == "warn"
    assert str(broken) in checks["opswap"]["message"] and str(newest.package.parent) in checks["opswap"]["message"]
    assert "PYTHONPATH" in checks["opswap"]["remedy"]
    assert newest.doctor()[1]["opswap"]["state"] == "ok"


def test_what_an_extra_brings_is_named_when_it_is_missing(newest: Installed) -> None:
    said = newest.last_error("import opswap.torch_ops")
    assert said == (
        "opswap.errors.OpswapError: OPSWAP_E_MISSING: opswap.torch_ops needs the package torch, "
        f"which is not installed here; run: {newest.python} -m pip install torch"
    )


def test_without_an_engine_the_doctor_says_so(newest: Installed) -> None:
    code, checks = newest.doctor()
    assert code == 1
    assert checks["vllm"] == {**checks["vllm"], "state": "fail", "message": "vLLM is not installed here"}
    assert checks["vllm"]["remedy"].startswith("pip install vllm==")
    assert checks["library"]["state"] == "ok"


def played_driver(folder: Path, version: int) -> str:
    """A libcuda.so.1 that knows its version and nothing else; a real driver cannot be here."""
    source = f"int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}"
    command = ["g++", "-x", "c", "-shared", "-fPIC", "-", "-o", str(folder / "libcuda.so.1")]
    subprocess.run([os.environ.get("CXX", command[0]), *command[1:]], input=source, text=True, check=True)
    return str(folder)


def test_a_driver_older_than_the_wheels_cuda(newest: Installed, tmp_path: Path) -> None:
    ask = "import json, opswap; print(json.dumps(opswap.why('rms_norm')))"
    impls = json.loads(newest.says(ask, LD_LIBRARY_PATH=played_driver(tmp_path, 12040)))["impls"]
    reason = next(impl["reason"] for impl in impls if impl["name"] == "sm90")
    if "this build has no CUDA kernels" in reason:
        pytest.skip(reason)
    assert (
        "the NVIDIA driver is for CUDA 12.4, the kernels need one for CUDA 13.0 or later: update the driver" in reason
    )
