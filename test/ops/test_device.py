"""Device implementations: listed with a reason where there is no device, and never run or chosen unasked."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import opswap
import pytest
from rooms import kernel_rooms, rooms

KERNELS = sorted(room.name for room in kernel_rooms())
STATUS = opswap.version()["device_status"]
BUILT = "this build has no CUDA kernels" not in STATUS
DEVICE = STATUS.startswith("cuda: ")

needs_cuda_build = pytest.mark.skipif(not BUILT, reason=STATUS)
needs_no_device = pytest.mark.skipif(DEVICE, reason=f"needs a machine without a device; {STATUS}")


def sm90(op: str) -> dict:
    return next(impl for impl in opswap.why(op)["impls"] if impl["name"] == "sm90")


def listed(op: str) -> list[str]:
    return [impl["name"] for impl in opswap.why(op)["impls"]]


def test_status_says_what_there_is_or_why_there_is_nothing() -> None:
    assert STATUS.startswith(("cuda: device ", "no usable CUDA device: "))


def test_a_room_with_kernels_lists_them_and_no_other_does() -> None:
    assert KERNELS, "no room has kernels"
    for room in rooms():
        assert ("sm90" in listed(room.name)) == (BUILT and room.name in KERNELS)


@needs_cuda_build
@pytest.mark.parametrize("op", KERNELS)
def test_without_evidence_it_is_experimental_and_never_the_choice(op: str) -> None:
    assert "experimental: there is no evidence from a device" in sm90(op)["reason"]
    assert opswap.why(op)["active"] != "sm90"


@needs_cuda_build
@needs_no_device
@pytest.mark.parametrize("op", KERNELS)
def test_without_a_device_it_says_so_and_cannot_be_chosen(op: str) -> None:
    found = sm90(op)
    assert not found["usable"] and found["reason"].startswith("no usable CUDA device: ")
    before = opswap.why(op)["active"]
    with pytest.raises(opswap.OpswapError, match=f"{op}: implementation 'sm90' cannot run: no usable CUDA device") as e:
        opswap.use(op, "sm90")
    assert e.value.code == "OPSWAP_E_UNUSABLE"
    assert opswap.why(op)["active"] == before


@needs_cuda_build
def test_it_refuses_host_memory() -> None:
    x = np.ones((2, 8), np.float32)
    with pytest.raises(opswap.OpswapError, match="it computes on a CUDA device and the tensors are not there"):
        opswap.call("rms_norm", np.zeros_like(x), x, x[0], 1e-6, impl="sm90")


@needs_cuda_build
@needs_no_device
def test_loading_does_not_start_the_driver() -> None:
    """A host forks its workers after the import; the first question for a device is what starts CUDA."""
    code = (
        "import os, opswap\n"
        "maps = lambda: 'libcuda.so' in open('/proc/self/maps').read()\n"
        "loaded = maps()\n"
        "pid = os.fork()\n"
        "status = opswap.version()['device_status']\n"
        "if pid: _, rc = os.waitpid(pid, 0); print(loaded, rc, status)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"False 0 {STATUS}"
