"""Whether the card can give evidence: what the library says of it, and what else runs on it."""

from __future__ import annotations

import os
import subprocess

from .abi import Library
from .refusal import Refused

NO_DEVICE = "no usable CUDA device: "
#: A clock that falls below this share of the highest one seen makes a time worthless.
STEADY = 0.8


def kind_of(library: Library) -> str:
    """Backend of a library by its own words; Refused where it sees no card that can run the kernels."""
    status = library.device_status
    if status.startswith("emulated"):
        return "emulated"
    if status.startswith(NO_DEVICE):
        remedy = "run on a machine whose card is a Hopper, sm_90 (H20, H100, H200), with its driver and libcuda.so"
        raise Refused("OPSWAP_E_CARD", status.removeprefix(NO_DEVICE), remedy)
    return "cuda"


def asked(query: str) -> list[str]:
    """Lines of nvidia-smi about device 0."""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits", "--id=0"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        remedy = "install the driver's tools, or mount them into the container (NVIDIA_DRIVER_CAPABILITIES=utility)"
        raise Refused("OPSWAP_E_CARD", f"nvidia-smi cannot be run: {error}", remedy) from None
    if ran.returncode:
        said = (ran.stderr or ran.stdout).strip().splitlines()[:1]
        raise Refused("OPSWAP_E_CARD", f"nvidia-smi says: {' '.join(said)}", "mend the driver first")
    return [line.strip() for line in ran.stdout.splitlines() if line.strip()]


def refuse_busy_card() -> None:
    """Other processes on the card, or work of containers whose processes are not seen."""
    others = [line for line in asked("--query-compute-apps=pid,process_name") if not line.startswith(f"{os.getpid()},")]
    load = int(asked("--query-gpu=utilization.gpu")[0] or 0)
    if not others and load <= 10:
        return
    found = f"processes on it: {'; '.join(others)}" if others else f"it is at {load} % load"
    remedy = "stop them, or pick another card with CUDA_VISIBLE_DEVICES"
    raise Refused("OPSWAP_E_CARD", f"the card is busy, so no time would be of the kernel alone; {found}", remedy)


def unsteady(clocks: list[float]) -> str | None:
    """Why times of a run with these clocks of the SMs, in MHz, do not count."""
    if not clocks or min(clocks) >= STEADY * max(clocks):
        return None
    return f"speed not kept: clocks went from {max(clocks):.0f} to {min(clocks):.0f} MHz (power or heat); run again"
