"""What the adapter uses of SGLang; common/probe.py looks whether it is there. The versions are in compat.json."""

from __future__ import annotations

from pathlib import Path

from opswap.adapters.common.compat import FILE
from opswap.adapters.common.probe import Need, Probe
from opswap.adapters.sglang.seams import TABLE

_LAYERS = "sglang.srt.layers"
_BACKEND = f"{_LAYERS}.attention.base_attn_backend:AttentionBackend"
_COMPRESSED = f"{_LAYERS}.quantization.compressed_tensors"
_COMPRESSED_FP8 = f"{_COMPRESSED}.schemes.compressed_tensors_w8a8_fp8:CompressedTensorsW8A8Fp8"
_HOOKS = Need("sglang.srt.plugins.hook_registry:HookRegistry.register", ("target", "hook", "hook_type"))
_PLUGIN = (
    Need("sglang.kernels.spec:KernelBackend.PLUGIN"),
    Need("sglang.kernels.fused_op:BaseFusedOp.capabilities"),
    Need("sglang.kernels.fused_op:BaseFusedOp.forward_plugin"),
    Need("sglang.kernels.fused_op:BaseFusedOp._resolve_forward_method"),
)
NEEDS: dict[str, tuple[Need, ...]] = {
    "norm": (
        *_PLUGIN,
        Need(
            f"{_LAYERS}.layernorm:RMSNorm.forward_native", ("x", "residual", "post_residual_addition", "quant_linear")
        ),
    ),
    "activation": (
        *_PLUGIN,
        Need(f"{_LAYERS}.activation:SiluAndMul.forward_native", ("x",)),
        Need(f"{_LAYERS}.activation:GeluAndMul.forward_native", ("x",)),
    ),
    "rotary": (
        *_PLUGIN,
        Need(
            f"{_LAYERS}.rotary_embedding.base:RotaryEmbedding.forward_native",
            ("positions", "query", "key", "offsets", "fused_set_kv_buffer_arg"),
        ),
    ),
    "attention": (
        Need(f"{_LAYERS}.attention.attention_registry:register_attention_backend", ("name",)),
        Need("sglang.srt.arg_groups.choices:add_attention_backend_choices"),
        Need(f"{_BACKEND}.forward", ("q", "k", "v", "layer", "forward_batch", "save_kv_cache")),
        Need(f"{_BACKEND}.init_forward_metadata", ("forward_batch",)),
        Need(f"{_BACKEND}.init_forward_metadata_out_graph", ("forward_batch", "in_capture")),
        Need(f"{_BACKEND}.init_cuda_graph_state", ("max_bs", "max_num_tokens")),
        Need("sglang.srt.mem_cache.memory_pool:MHATokenToKVPool.get_key_buffer", ("layer_id",)),
    ),
    "linear": (
        _HOOKS,
        Need("sglang.srt.runtime_context:get_exec"),
        Need(f"{_LAYERS}.quantization.unquant:UnquantizedLinearMethod.apply", ("layer", "x", "bias")),
        Need(
            f"{_LAYERS}.quantization.unquant:UnquantizedLinearMethod.apply_with_addend",
            ("layer", "x", "addend", "bias"),
        ),
    ),
    "lm_head": (
        _HOOKS,
        Need(
            f"{_LAYERS}.logits_processor:LogitsProcessor._compute_lm_head",
            ("hidden_states", "lm_head", "embedding_bias", "out"),
        ),
        Need(f"{_LAYERS}.logits_processor:should_apply_lm_head_quant_method", ("lm_head", "quant_method")),
    ),
    "sampling": (
        Need(f"{_LAYERS}.sampler:register_sampler_backend", ("backend", "factory")),
        Need(
            f"{_LAYERS}.sampler:Sampler.forward",
            ("logits_output", "sampling_info", "return_logprob", "positions", "logprob_logits"),
        ),
        Need(f"{_LAYERS}.sampler:Sampler._preprocess_logits", ("logits", "sampling_info")),
        Need(f"{_LAYERS}.sampler:Sampler._sync_token_ids_across_tp"),
    ),
    "fp8_linear": (
        _HOOKS,
        Need(f"{_LAYERS}.quantization.fp8_utils:dispatch_w8a8_block_fp8_linear", ("weight_block_size",)),
        Need(f"{_LAYERS}.quantization.fp8:Fp8LinearMethod.process_weights_after_loading", ("layer",)),
        Need(f"{_LAYERS}.quantization.fp8:Fp8LinearMethod.apply", ("layer", "x", "bias")),
        Need(
            f"{_LAYERS}.quantization.fp8_utils:apply_fp8_linear",
            ("input", "weight", "weight_scale", "input_scale", "input_scale_ub", "bias"),
        ),
        Need(
            f"{_COMPRESSED}.compressed_tensors:CompressedTensorsConfig._check_scheme_supported",
            ("min_capability", "error"),
        ),
        Need(f"{_COMPRESSED_FP8}.get_min_capability"),
        Need(f"{_COMPRESSED_FP8}.process_weights_after_loading", ("layer",)),
    ),
}
#: What a switch uses whatever the seams: the boundary between two steps, and a new capture of CUDA graphs.
CONTROL: tuple[Need, ...] = (
    _HOOKS,
    Need("sglang.srt.model_executor.model_runner:ModelRunner.forward", ("forward_batch",)),
    Need("sglang.srt.runtime_context:publish_role"),
    Need("sglang.srt.runtime_context:get_observability"),
)
_RUNNER = "sglang.srt.model_executor.model_runner:ModelRunner"
GRAPHS: tuple[Need, ...] = (
    Need(f"{_RUNNER}.recapture_decode_cuda_graph"),
    Need(f"{_RUNNER}.init_prefill_cuda_graph"),
)

PROBE = Probe(
    engine="SGLang",
    package="sglang",
    versions=Path(__file__).with_name(FILE),
    needs=NEEDS,
    skip_env=TABLE.skip_env,
    leave_out="leave opswap out of SGLANG_PLUGINS to serve without it",
)
