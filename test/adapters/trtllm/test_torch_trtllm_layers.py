"""The layers that are put into TensorRT-LLM's, on tensors of a CPU: right against float64, and refusals that say what
to change. How the engine calls them is imitated from what was read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import running  # noqa: I001
import host

LAYOUTS = {"own": "fp8_block128", "plain": "bf16", "other": "ct_fp8_channel", "hugging-face": None}


@pytest.fixture(scope="module", params=host.VERSIONS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = host.build(request.param, tmp_path_factory.mktemp("host"))
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, layout in LAYOUTS.items():
        (folder / name).mkdir()
        header = json.dumps({"__metadata__": {"opswap.layout": layout} if layout else {"format": "pt"}}).encode()
        (folder / name / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (folder / "broken").mkdir()
    (folder / "broken/model.safetensors").write_bytes(b"\xff" * 64)
    return running.run(place, "layering.py", request.param, str(folder))[0]


def test_attention_is_that_of_float64_and_writes_the_pages_that_it_should(found: dict[str, Any]) -> None:
    seen = {name: value for name, value in found["attention"].items() if "neox" in name}
    assert len(seen) == 4 and max(seen.values()) < 2e-5


def test_a_cache_in_fp8_and_sinks_are_those_of_float64(found: dict[str, Any]) -> None:
    seen = found["attention"]
    assert seen["coded"] < 2e-5 and seen["pages, coded"] == 0


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("graph", "a CUDA graph, which repeats lengths that the host worked out (set cuda_graph_config: null)"),
        ("cross", "cross attention"),
        ("beams", "beam search"),
        ("window", "a window of 8 tokens"),
        ("is_mla_enable", "latent attention (MLA)"),
        ("has_fp4_kv_cache", "a KV cache in FP4"),
        ("pages of another dtype", "an FP8 KV cache whose pages are torch.float32"),
    ],
)
def test_attention_refuses_with_the_seam_and_the_remedy(case: str, why: str, found: dict[str, Any]) -> None:
    said = found["attention"][case]
    assert said.startswith(f"opswap: seam attention: its ops do not offer {why}; ")
    assert "OPSWAP_TRTLLM_SKIP=attention leaves the seam to TensorRT-LLM" in said


def test_a_layer_stays_with_the_engine_where_the_user_let_it_and_is_counted(found: dict[str, Any]) -> None:
    kind, bypassed = found["attention"]["kept"]
    assert kind in ("stock", "TrtllmAttention") and bypassed == ["attention: latent attention (MLA)"]


def test_linear_layers_are_those_of_float64(found: dict[str, Any]) -> None:
    assert found["linear"]["linear"] < 0.01 and found["linear"]["fp8"] < 0.01


def test_linear_layers_refuse_scales_that_are_not_of_blocks(found: dict[str, Any]) -> None:
    said = found["linear"]["parts"]
    assert "has parts of 192, 64 rows" in said and "`opswap convert MODEL OUT --to fp8_block128`" in said
    assert "expected FP8 scales of shape (2, 2) for a weight [256, 200], got (1, 5)" in found["linear"]["laid out"]


def test_a_linear_layer_that_is_asked_for_more_refuses(found: dict[str, Any]) -> None:
    assert "seam linear: its ops do not offer an output buffer of another kind" in found["linear"]["buffer"]


def test_linear_layers_given_back_have_their_stock_methods(found: dict[str, Any]) -> None:
    assert found["linear"]["given back"] == ["UnquantizedLinearMethod", "FP8BlockScalesLinearMethod"]


def test_a_checkpoint_of_another_layout_is_refused_with_the_command(found: dict[str, Any]) -> None:
    seen = found["checkpoints"]
    assert seen["own"] == seen["plain"] == ""
    assert "found the layout ct_fp8_channel; run `opswap convert repack " in seen["other"]
    assert "/other OUT --to fp8_block128`" in seen["other"]
    assert "found no layout of opswap's; run `opswap convert " in seen["hugging-face"]
    assert "repack" not in seen["hugging-face"]
    assert "it is no safetensors file" in seen["broken"]


def test_the_mapper_refuses_scales_of_another_shape(found: dict[str, Any]) -> None:
    said = found["checkpoints"]["scales"]
    assert "a.weight_scale_inv has shape [256, 1], expected [2, 2] for a weight of shape [256, 200]" in said
    assert found["checkpoints"]["right"] == ["weight", "weight_scale_inv"]


def test_the_library_goes_first_into_the_registry_and_beside_what_the_user_set(found: dict[str, Any]) -> None:
    if "libraries" not in found:
        return  # 1.2 has no registry
    seen = found["libraries"]
    both = ["opswap", "fallback"]
    assert seen[""] == ["+opswap", both] and seen[" removed"] == [None, ["fallback"]]
    assert seen["+prims_ts"] == ["+prims_ts,+opswap", both]
    assert seen["+prims_ts removed"] == ["+prims_ts", ["fallback"]]
    assert seen["opswap,fallback"] == ["opswap,fallback", both]
    for setting in ("fallback", "-opswap"):
        assert f"TLLM_FMHA_LIBS={setting}, which leaves opswap out: add opswap to it" in seen[setting]
