"""What cannot be served is refused when the model is built or the plugin is called, with what to change."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from opswap.adapters.common.probe import AdapterRefused, Need
from opswap.adapters.sglang import plugin
from opswap.adapters.sglang.adapter import ADAPTER
from opswap.adapters.sglang.probe import PROBE


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"is_cross_attention": True}, "cross attention in layer"),
        ({"head_dim": 512}, "heads of 512 and 512 in layer"),
        ({"v_head_dim": 16}, "heads of 64 and 16 in layer"),
        ({"pos_encoding_mode": "ALIBI"}, "positions of mode 'ALIBI' in layer"),
        ({"logit_cap": 30.0, "logit_capping_method": "other"}, "logits capped by 'other' in layer"),
        ({"use_irope": True}, "local attention in chunks in layer"),
        ({"attn_type": "ENCODER_ONLY"}, "attention of type 'encoder_only' in layer"),
        ({"attn_type": "DECODER_BIDIRECTIONAL"}, "attention of type 'decoder_bidirectional' in layer"),
    ],
)
def test_attention_that_the_op_cannot_do(engine, changes, told):
    from opswap.adapters.sglang.layers.attention import OpswapAttnBackend
    from sglang.srt.layers.radix_attention import AttentionType, RadixAttention

    changes = {k: AttentionType[v] if k == "attn_type" else v for k, v in changes.items()}
    plain = {"num_heads": 4, "head_dim": 64, "scaling": 1.0, "num_kv_heads": 2, "layer_id": 0}
    layer = RadixAttention(**{**plain, **changes})
    runner = like(engine.runner, model=SimpleNamespace(**modules(layer)))
    with pytest.raises(AdapterRefused, match=f"needs {told}.*OPSWAP_SGLANG_SKIP=attention"):
        OpswapAttnBackend(runner)


def modules(layer) -> dict:
    return {"named_modules": lambda: [("layer", layer)], "named_parameters": list}


def like(runner, **changes):
    """A ModelRunner's part that the backend looks at, changed."""
    pools = "token_to_kv_pool", "req_to_token_pool"
    names = (*pools, "model", "use_mla_backend", "dtype", "page_size", "spec_algorithm")
    return SimpleNamespace(**{**{name: getattr(runner, name) for name in names}, "device": "cpu", **changes})


def test_engines_that_the_backend_cannot_serve(engine):
    import torch
    from opswap.adapters.sglang.layers.attention import refusal
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool

    runner = engine.runner
    assert refusal(like(runner)) is None
    assert "MLA" in refusal(like(runner, use_mla_backend=True))
    assert "take --kv-cache-dtype auto" in refusal(like(runner, dtype=torch.bfloat16))
    # 2048 slots and the page that SGLang keeps for padding.
    assert "2049 slots in pages of 16: take a --max-total-tokens" in refusal(like(runner, page_size=16))
    assert "--disable-hybrid-swa-memory" in refusal(like(runner, token_to_kv_pool=SimpleNamespace()))
    speculative = SimpleNamespace(is_none=lambda: False)
    assert "speculative decoding" in refusal(like(runner, spec_algorithm=speculative))
    own_scales = MHATokenToKVPool.__new__(MHATokenToKVPool)
    vars(own_scales).update(kv_cache_layout="nhd", dtype=torch.float8_e4m3fn, quant_method=object())
    assert "a KV pool with scales of its own" in refusal(like(runner, token_to_kv_pool=own_scales))


def test_what_a_layer_passes_beyond_the_op_is_refused(engine):
    backend = engine.runner.attn_backend
    with pytest.raises(AdapterRefused, match=r"layer 1 passes q_rope.*another --attention-backend"):
        backend.forward_extend(None, None, None, SimpleNamespace(layer_id=1), None, q_rope=1, other=None)


def test_fp8_of_another_layout(engine):
    import torch
    from sglang.srt.layers.quantization import fp8_utils
    from sglang.srt.layers.quantization.fp8 import Fp8LinearMethod

    with pytest.raises(AdapterRefused, match=r"this checkpoint has 64 x 64: opswap convert MODEL .*--for sglang"):
        fp8_utils.dispatch_w8a8_block_fp8_linear([64, 64])
    kernel = fp8_utils.dispatch_w8a8_block_fp8_linear([128, 128])
    with pytest.raises(AdapterRefused, match=r"got torch\.float32: --dtype bfloat16"):
        kernel(torch.zeros(1, 128), None, [128, 128], None)
    never_loaded = torch.full((1, 1), torch.finfo(torch.float32).min)
    layer = SimpleNamespace(prefix="model.layers.0.mlp.down_proj", weight_scale_inv=never_loaded)
    with pytest.raises(AdapterRefused, match=r"down_proj is in FP8 and SGLang loaded no scales.*opswap convert"):
        Fp8LinearMethod.process_weights_after_loading(None, layer)


def test_compressed_fp8_of_another_layout(engine):
    """Hooks look at the blocks and the scales before SGLang makes anything of them."""
    import torch
    from sglang.srt.layers.quantization.compressed_tensors.compressed_tensors import CompressedTensorsConfig
    from sglang.srt.layers.quantization.compressed_tensors.schemes import CompressedTensorsW8A8Fp8

    load = CompressedTensorsW8A8Fp8.process_weights_after_loading
    with pytest.raises(AdapterRefused, match=r"this checkpoint has 64 x 64: opswap convert MODEL .*--for sglang"):
        load(SimpleNamespace(weight_block_size=[64, 64]), None)
    missing = torch.finfo(torch.float32).min
    for scales in ([missing, missing], [[0.5], [missing]]):
        layer = SimpleNamespace(prefix="layers.0.qkv_proj", weight_scale=torch.tensor(scales))
        with pytest.raises(AdapterRefused, match=r"qkv_proj is in FP8 and SGLang loaded no scales.*opswap convert"):
            load(SimpleNamespace(weight_block_size=None), layer)
    assert CompressedTensorsConfig._check_scheme_supported(None, CompressedTensorsW8A8Fp8.get_min_capability())


def test_compressed_parts_keep_their_scales(engine):
    import torch
    from sglang.srt.layers.quantization.compressed_tensors.schemes import CompressedTensorsW8A8Fp8

    weight = torch.eye(5, 3).to(torch.float8_e4m3fn)
    layer = torch.nn.Module()
    layer.weight, layer.weight_scale = (torch.nn.Parameter(t, False) for t in (weight, torch.tensor([0.5, 0.25])))
    layer.logical_widths = [2, 3]
    scheme = SimpleNamespace(weight_block_size=None, strategy="tensor")
    CompressedTensorsW8A8Fp8.process_weights_after_loading(scheme, layer)
    assert torch.equal(layer.weight.data.t().float(), weight.float())
    assert layer.weight_scale.tolist() == [0.5, 0.5, 0.25, 0.25, 0.25]


def test_another_version_and_a_patched_build():
    with pytest.raises(AdapterRefused, match=r"SGLang 0\.5\.22 does not work with opswap: .*install sglang==0\.5\.23"):
        PROBE.require("0.5.22", ["norm"])
    needs = {"norm": (Need("sglang.srt.layers.layernorm:RMSNorm.forward_native", ("gone",)),)}
    changed = type(PROBE)(PROBE.engine, PROBE.package, PROBE.versions, needs, PROBE.skip_env, PROBE.leave_out)
    with pytest.raises(AdapterRefused, match=r"takes no gone.*OPSWAP_SGLANG_SKIP=norm leaves these seams to SGLang"):
        changed.require("0.5.23", ["norm"])


@pytest.fixture
def fresh(engine, monkeypatch):
    """The plugin as in a process that has not called it yet."""
    import sglang.srt.runtime_context as context
    from opswap.adapters.common.state import PluginState

    monkeypatch.setattr(context, "publish_role", lambda: None)
    kept, state = ADAPTER.state, PluginState()
    object.__setattr__(ADAPTER, "state", state)
    yield state
    object.__setattr__(ADAPTER, "state", kept)


def test_a_plugin_that_cannot_work_ends_its_process(fresh, monkeypatch, capsys):
    monkeypatch.setattr(plugin, "activate", lambda _adapter: (_ for _ in ()).throw(AdapterRefused("opswap: no seam")))
    with pytest.raises(SystemExit) as ended:
        plugin.register()
    assert ended.value.code == 78
    assert capsys.readouterr().err == "opswap: no seam\n  OPSWAP_SGLANG_STRICT=0 serves without opswap\n"
    assert fresh.trouble == "the plugin failed: AdapterRefused: opswap: no seam"


def test_it_serves_without_opswap_where_that_was_asked_for(fresh, monkeypatch, capsys):
    monkeypatch.setenv("OPSWAP_SGLANG_STRICT", "0")
    monkeypatch.setattr(plugin, "activate", lambda _adapter: 1 / 0)
    plugin.register()
    assert "opswap: ZeroDivisionError: division by zero\n  SGLang serves without opswap" in capsys.readouterr().err
    assert not fresh.registered
    fresh.installed["norm"] = "half"  # then it would be neither SGLang's nor opswap's
    with pytest.raises(SystemExit):
        plugin.register()


def test_a_plugin_that_comes_too_late(fresh, monkeypatch, capsys):
    import sglang.srt.runtime_context as context

    monkeypatch.setattr(context, "publish_role", lambda: "scheduler")
    with pytest.raises(SystemExit):
        plugin.register()
    assert "the plugin is loaded too late" in capsys.readouterr().err


def test_sglang_itself_lets_the_end_through():
    """In a process of its own, by SGLang's own loader, which swallows exceptions."""
    program = "from sglang.srt.plugins import load_plugins; load_plugins(); print('served')"
    env = {**os.environ, "OPSWAP_SGLANG_SKIP": "attentoin", "SGLANG_PLUGINS": "opswap"}
    ran = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (78, "")
    assert "OPSWAP_SGLANG_SKIP names attentoin; the seams are norm, activation" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_process_that_makes_text_imports_no_model():
    program = (
        "import sys, sglang.srt.managers.detokenizer_manager\n"
        "from sglang.srt.plugins import load_plugins\nload_plugins()\n"
        "print([name for name in sys.modules if name in ('opswap.adapters.sglang.framework', 'sglang.srt.models')])"
    )
    env = {**os.environ, "SGLANG_PLUGINS": "opswap", "OPSWAP_SGLANG_SKIP": ""}
    ran = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
