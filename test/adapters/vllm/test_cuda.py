"""The seams on a card that is played (played_cuda.py): vLLM's own kernels run by default, ours when they are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import vllm
from adapters_here import by_name

#: Of block FP8 with activations quantised by groups of 128: three bits of mantissa, against the weights in float64.
QUANTISED = 2e-3
ROUNDED = 1e-5  # to bfloat16
OWN = {"silu_and_mul", "gelu_tanh_and_mul", "rms_norm", "fused_add_rms_norm", "rotary_embedding", "linear"}
FP8 = {"quantize_fp8", "gemm_fp8_block128", "gemm_fp8"}
QUANTISERS = {"per_token_group_fp8_quant", "dynamic_per_token_scaled_fp8_quant"}


def empty_driver(folder: Path) -> Path:
    """A libcuda.so.1 by which vLLM's library of CUDA operators loads; each of its functions says: no card."""
    wanted = subprocess.run(
        ["nm", "-D", "--undefined-only", str(Path(vllm.__file__).with_name("_C_stable_libtorch.abi3.so"))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = [name for name in wanted if name.startswith("cu") and name[2:3].isupper()]
    source, out = folder / "cuda.c", folder / "libcuda.so.1"
    source.write_text("".join(f"int {name}(void) {{ return 100; }}\n" for name in names))
    subprocess.run(
        ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{out.name}", str(source), "-o", str(out)],
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict:
    paths = [empty_driver(tmp_path_factory.mktemp("driver")), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    kept = {name: value for name, value in os.environ.items() if name != "VLLM_TARGET_DEVICE"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("played_cuda.py"))],
        env={**kept, "LD_LIBRARY_PATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_vllms_own_kernels_run_by_default_where_no_card_has_shown_ours(told):
    assert {op for op, impl in told["active"].items() if impl == "framework"} == OWN | FP8 | {"greedy_sample"}
    assert set(told["called"]) == (OWN - {"linear"}) | QUANTISERS | {"cutlass_scaled_mm"}


def test_they_take_the_arguments_of_the_ops_as_vllms_operators_are_declared(told):
    assert told["small"].keys() == OWN
    assert max(told["small"].values()) < ROUNDED, told["small"]


@pytest.mark.parametrize(("layer", "kernel"), [("block", "OpswapFp8BlockKernel"), ("channel", "OpswapFp8Kernel")])
def test_an_fp8_layer_is_two_ops_and_each_implementation_gives_what_its_weights_say(told, layer, kernel):
    found = told[layer]
    assert found["kernel"] == kernel
    errors = {name: found[name] for name in ("framework", "cpu", "ref")}
    assert all(0 < error < QUANTISED for error in errors.values()), errors


def test_vllms_batch_invariant_mode_calls_the_kernel_of_channels_for_what_it_is(told):
    """It dequantises the weights of a class that it does not know."""
    assert told["channel"]["invariant"]


def test_vllm_takes_the_attention_backend_that_is_named(told):
    *taken, refused = told["backends"].values()
    assert all(name.endswith(".layers.attention.OpswapBackend") for name in taken), taken
    assert "OPSWAP" in refused and "kv_cache_dtype not supported" in refused


def test_the_doctors_table(told):
    checks = by_name(told["checks"])
    assert (checks["seams"]["state"], checks["device"]["state"]) == ("ok", "ok")
    assert "attention" in checks["seams"]["message"]
    assert "H100" in checks["device"]["message"]
    assert checks["in use"]["state"] == "ok", checks["in use"]
