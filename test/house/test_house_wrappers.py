"""Every function of common/sm90 has a test: a kernel that calls it, that the emulator runs and nvcc compiles."""

from __future__ import annotations

import json
import re

from house.rules import ROOT

HEADERS = ROOT / "kernels/common/sm90"
EMULATOR = ROOT / "emulator"
_DEVICE = re.compile(r"\bOPSWAP_DEVICE\s+(?!static)[\w:<>,&* ]*?[ &*](?!operator)(\w+)\(")
_HOST = re.compile(r"^(?:static|inline) (?!__attribute|constexpr)[\w: *]+[ *](\w+)\(", re.M)
_MACROS = {"smem_address", "cache_policy"}  # called by the wrappers themselves


def functions(text: str) -> tuple[set[str], set[str]]:
    """Names of the functions of device and of host code that a header has."""
    return set(_DEVICE.findall(text)), set(_HOST.findall(text))


def called(name: str, text: str) -> bool:
    return re.search(rf"\b{name}(?:<[^;(]*>)?\(", text) is not None


def texts(*patterns: str) -> str:
    return "".join(path.read_text("utf-8") for pattern in patterns for path in sorted(EMULATOR.glob(pattern)))


def untested(device: set[str], host: set[str], kernels: str, tests: str) -> list[str]:
    return sorted(
        [name for name in device - _MACROS if not called(name, kernels)]
        + [name for name in host if not called(name, tests)]
    )


def test_every_wrapper_is_called_by_a_kernel_that_both_compilers_see() -> None:
    headers = "".join(path.read_text("utf-8") for path in sorted(HEADERS.glob("*.h")))
    device, host = functions(headers)
    assert {"tma_load", "wgmma", "cluster_sync", "ldmatrix", "stmatrix", "mbarrier_wait", "cp_async"} <= device
    assert {"encode", "launch"} <= host
    assert untested(device, host, texts("kernels/wrap_*.h"), texts("tests/*.cpp")) == []


def test_every_such_kernel_is_run() -> None:
    kernels = re.findall(r"\b(wrap_\w+)\(", texts("kernels/wrap_*.h"))
    tests = texts("tests/*.cpp")
    assert kernels
    assert [name for name in kernels if not re.search(rf"\b{name}\b", tests)] == []


def test_a_wrapper_without_a_kernel_is_found() -> None:
    header = "OPSWAP_DEVICE void forgotten(int x) {}\ntemplate <int N>\nOPSWAP_DEVICE uint32_t kept(T *p) {}\n"
    device, host = functions(header + "inline const char *also_forgotten(Map &map) {\n")
    assert (device, host) == ({"forgotten", "kept"}, {"also_forgotten"})
    assert untested(device, host, "kept<3>(p);", "") == ["also_forgotten", "forgotten"]


def test_the_emulator_has_the_sms_that_the_device_profiles_say() -> None:
    text = (EMULATOR / "include/emulator/emulator.h").read_text()
    found = {name: int(sms) for name, sms in re.findall(r'\{"(\w+)", (\d+)\}', text)}
    profiles = json.loads((ROOT / "evidence/devices.json").read_text())
    assert {"H20", "H100"} <= set(found)
    assert found == {name: profiles[name]["sms"] for name in found}
