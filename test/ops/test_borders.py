"""What guards the borders of the library: ABI and manifest versions, CPU affinity, the instruction set, its symbols."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import opswap
import pytest
from rooms import ROOT

PACKAGE = Path(opswap.__file__).parent
LIBRARY = PACKAGE / "libopswap.so"
NODE_ADDON = ROOT / "build/native/opswap.node"
# What a library of another version would answer: loaded first, it takes the place of the real function.
OTHER_ABI = """
extern "C" int opswap_get_version(void *out) {
  int *fields = static_cast<int *>(out);  // struct_size, abi_major, ...
  fields[1] = 99;
  return 0;
}
"""
OTHER_MANIFEST = 'extern "C" const char *opswap_manifest(void) { return "{\\"schema\\": 99, \\"ops\\": []}"; }'


def run(command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False)


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-c", code], **env)


@pytest.fixture
def interpose(tmp_path: Path):
    """Compiles a function that stands in front of the library's own."""

    def build(source: str) -> str:
        (tmp_path / "stand_in.cpp").write_text(source)
        out = tmp_path / "stand_in.so"
        subprocess.run(["g++", "-shared", "-fPIC", str(tmp_path / "stand_in.cpp"), "-o", str(out)], check=True)
        return str(out)

    return build


def test_another_abi_is_refused_by_python(interpose) -> None:
    result = python("import opswap", LD_PRELOAD=interpose(OTHER_ABI))
    assert result.returncode != 0
    assert re.search(r"OPSWAP_E_ABI: libopswap.so has ABI 99, this module was built for ABI 1", result.stderr)


def test_another_abi_is_refused_by_node(interpose) -> None:
    code = f"try {{ require({str(NODE_ADDON)!r}).version() }} catch (e) {{ console.log(e.code, e.message) }}"
    result = run(["node", "-e", code], LD_PRELOAD=interpose(OTHER_ABI))
    assert result.stdout.strip() == "OPSWAP_E_ABI libopswap.so has ABI 99, this addon was built for ABI 1"


def test_a_newer_manifest_is_refused(interpose) -> None:
    code = "import opswap\ntry: opswap.manifest()\nexcept opswap.OpswapError as e: print(e)"
    result = python(code, LD_PRELOAD=interpose(OTHER_MANIFEST))
    assert result.stdout.startswith("OPSWAP_E_MANIFEST: the manifest has schema 99, this reader knows 1")


def test_threads_follow_the_affinity_mask() -> None:
    cpu = min(os.sched_getaffinity(0))
    code = "import opswap; print(opswap.get_threads()); opswap.set_threads(2)"
    result = python(f"import os; os.sched_setaffinity(0, {{{cpu}}}); {code}")
    assert result.stdout.strip() == "1"
    assert "OPSWAP_E_ARGUMENT: opswap_set_threads: got 2, needs 1 to 1" in result.stderr


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
def test_the_instruction_set_can_be_capped(isa: str) -> None:
    levels = ["portable", "avx2", "avx512"]
    here = opswap.version()["cpu_isa"]
    expected = levels[min(levels.index(isa), levels.index(here))]
    result = python(
        "import opswap; print(opswap.version()['cpu_isa'], opswap.why('linear')['impls'])", OPSWAP_CPU_ISA=isa
    )
    assert result.stdout.split()[0] == expected
    higher = levels[levels.index(expected) + 1 :]
    assert not any(f"@{level}" in result.stdout for level in higher)


def symbols(*args: str) -> list[list[str]]:
    out = subprocess.run(["nm", *args], capture_output=True, text=True, check=True).stdout
    return [line.split(maxsplit=2) for line in out.splitlines() if line.strip()]


def test_only_the_abi_is_exported() -> None:
    """Two builds in one process share nothing by name but the functions that each caller looks up itself."""
    exported = [name for _, kind, name in (s for s in symbols("-D", "--defined-only", str(LIBRARY)) if len(s) == 3)]
    assert exported and all(name.startswith("opswap_") for name in exported), exported
    header = "".join(
        (ROOT / "native/include" / name).read_text() for name in ("opswap.h", "opswap_builds.h", "opswap_plans.h")
    )
    assert set(exported) == set(re.findall(r"OPSWAP_API[^;(]*?(opswap_\w+)\(", header))


def room_objects() -> list[Path]:
    return sorted((ROOT / "build/native-work").glob("**/room_*.dir/**/cpu.cpp.o"))


@pytest.mark.skipif(not room_objects(), reason="the object files of build/native-work are not there")
def test_passes_share_no_symbol() -> None:
    """A weak symbol outside a pass's own namespace could be taken from the AVX-512 object on a CPU without it."""
    for path in room_objects():
        own = re.search(r"room_\w+_(ref|portable|avx2|avx512)\.dir", str(path))[1]
        weak = [s[-1] for s in symbols("-C", "--defined-only", str(path)) if len(s) == 3 and s[1] in "WVu"]
        foreign = [name for name in weak if f"isa_{own}::" not in name and not name.startswith("DW.ref.")]
        assert own == "ref" or not foreign, f"{path.parent.name}: {foreign[:5]}"


def test_it_loads_where_nothing_is_installed() -> None:
    """No link to a CUDA driver, torch or an OpenMP runtime of its own."""
    out = subprocess.run(["readelf", "-d", str(LIBRARY)], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", out))
    allowed = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}
    assert needed <= allowed, needed - allowed
    assert opswap.version()["device_status"]
