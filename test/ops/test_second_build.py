"""A second build beside the first in one process: listed, run, compared, and refused where it is another one."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import opswap
import pytest
import second_build
from opswap import _opswap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not on PATH; npm test puts it there"),
]
OP = second_build.OP


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return second_build.build(tmp_path_factory.mktemp("second"))


def facts(library: Path) -> dict:
    return json.loads(_opswap.read_build(str(library)))


def normed(impl: str, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    opswap.call(OP, out, x, np.ones(x.shape[-1], x.dtype), 0.25, impl=impl)
    return out


def test_a_library_says_what_it_is(library: Path) -> None:
    told, ours = facts(library), opswap.version()
    assert told["abi_major"] == ours["abi_major"]
    assert told["ops"] == {OP: opswap.op_spec(OP)["version"]}
    assert told["build_digest"] != ours["build_digest"]
    assert told["pack_version"] == ours["pack_version"]


def test_it_runs_beside_the_first_and_is_compared(library: Path) -> None:
    before = [impl["name"] for impl in opswap.why(OP)["impls"]]
    opswap.load_build(library, "second", facts(library)["build_digest"])
    impls = {impl["name"]: impl for impl in opswap.why(OP)["impls"]}
    assert [name for name in impls if name not in before] == ["ref@second", "cpu@second"]
    assert impls["cpu@second"]["usable"] and impls["cpu@second"]["external"]
    assert opswap.active(OP) in before

    x = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)
    mean = (x.astype(np.float64) ** 2).mean(-1, keepdims=True)
    np.testing.assert_allclose(normed("ref@second", x), x / np.sqrt(mean + 0.25), rtol=1e-5)
    np.testing.assert_allclose(normed("cpu@second", x), x / np.sqrt(mean + 1.25), rtol=1e-5)  # the planted change
    np.testing.assert_allclose(normed("cpu", x), x / np.sqrt(mean + 0.25), rtol=1e-5)

    opswap.shadow_start(OP, "cpu", "cpu@second", share_of_calls=1, share_of_time=1)
    normed("cpu", x)
    opswap.shadow_stop(OP)
    (record,) = opswap.shadow_read(OP)
    assert record["candidate_status"] == "OPSWAP_OK" and record["outside"] > 0.9 * x.size

    # Its refusals are told in its own words, and it is switched to like any other.
    with pytest.raises(opswap.OpswapError) as raised:
        opswap.load_build(library, "third", facts(library)["build_digest"])
    assert raised.value.code == "OPSWAP_E_EXISTS" and "same digest is loaded already" in raised.value.message
    previous = opswap.use(OP, "cpu@second")
    assert opswap.active(OP) == "cpu@second"
    opswap.use(OP, previous)


def test_threads_are_shared(library: Path) -> None:
    """It is loaded in another process, so that this test does not depend on the one above."""
    script = (
        "import ctypes, opswap, sys\n"
        "opswap.load_build(sys.argv[1], 'second', sys.argv[2])\n"
        "second = ctypes.CDLL(sys.argv[1])\n"
        "opswap.set_threads(1)\n"
        "assert second.opswap_get_threads() == 1\n"
        "opswap.set_threads(0)\n"
        "assert second.opswap_get_threads() == opswap.get_threads()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(library), facts(library)["build_digest"]], check=True)


@pytest.mark.parametrize(
    ("change", "code", "why"),
    [
        ("digest", "OPSWAP_E_ABI", "expected 0000"),
        ("first", "OPSWAP_E_EXISTS", "is the build that runs here already"),
        ("not there", "OPSWAP_E_ABI", "cannot be loaded"),
        ("not a library", "OPSWAP_E_ABI", "cannot be loaded"),
        ("another library", "OPSWAP_E_ABI", "has no function opswap_get_version"),
    ],
)
def test_what_is_another_one_is_refused(library: Path, tmp_path: Path, change: str, code: str, why: str) -> None:
    path, digest = library, facts(library)["build_digest"]
    if change == "digest":
        digest = "0" * 64
    if change == "first":
        path, digest = Path(opswap.__file__).with_name("libopswap.so"), opswap.version()["build_digest"]
    if change in ("not there", "not a library"):
        path = tmp_path / "libopswap.so"
    if change == "not a library":
        path.write_text("no library")
    if change == "another library":
        path = Path(ctypes.util.find_library("m") or "")
    before = opswap.why(OP)["impls"]
    with pytest.raises(opswap.OpswapError, match=why) as raised:
        opswap.load_build(path, "other", digest)
    assert raised.value.code == code
    assert opswap.why(OP)["impls"] == before


PLAYED = """
#include "opswap_builds.h"
extern "C" {
opswap_status opswap_get_version(opswap_version *out) {
  out->abi_major = ABI, out->pack_version = "0", out->build_digest = "played";
  return 0;
}
const char *opswap_manifest(void) { return MANIFEST; }
opswap_status opswap_call(const char *, const opswap_arg *, int32_t, const opswap_exec *) { return 0; }
opswap_status opswap_why(const char *, const opswap_arg *, int32_t, char *, size_t *) { return 1; }
const char *opswap_last_error(void) { return ""; }
opswap_status opswap_set_threads(int32_t) { return 0; }
opswap_status opswap_set_host_parallel(opswap_host_parallel) { return 0; }
}
"""


@pytest.mark.parametrize(
    ("abi", "manifest", "code", "why"),
    [
        (2, "", "OPSWAP_E_ABI", "was built for ABI 2, this library has 1"),
        (1, '{"ops": [{"op": "rms_norm", "version": 99}]}', "OPSWAP_E_ABI", "version 99 of rms_norm"),
        (1, '{"ops": [{"op": "another", "version": 1}]}', "OPSWAP_E_NO_IMPL", "no implementation of an op"),
        (1, '{"ops": [{"op": "rms_norm", "version": 1}]}', "OPSWAP_E_NO_IMPL", "no implementation of an op"),
        (1, '{"ops": [{}]}', "OPSWAP_E_MANIFEST", "without name or version"),
        (1, "{", "OPSWAP_E_MANIFEST", "cannot be read"),
    ],
)
def test_a_library_that_says_something_else(tmp_path: Path, abi: int, manifest: str, code: str, why: str) -> None:
    source, path = tmp_path / "played.cpp", tmp_path / "libopswap.so"
    source.write_text(PLAYED)
    include = Path(__file__).parents[2] / "native/include"
    says = [f"-DABI={abi}", f"-DMANIFEST={json.dumps(manifest)}"]
    subprocess.run(["g++", "-shared", "-fPIC", f"-I{include}", *says, str(source), "-o", str(path)], check=True)
    with pytest.raises(opswap.OpswapError, match=why) as raised:
        opswap.load_build(path, "played", "played")
    assert raised.value.code == code
