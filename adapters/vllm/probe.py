"""What the adapter uses of vLLM; common/probe.py looks whether it is there. The versions are in compat.json."""

from __future__ import annotations

from pathlib import Path

from opswap.adapters.common.compat import FILE
from opswap.adapters.common.probe import Need, Probe
from opswap.adapters.vllm.seams import TABLE

_LAYERS = "vllm.model_executor.layers"
_KERNELS = "vllm.model_executor.kernels.linear"
_INVARIANT = "vllm.model_executor.determinism.batch_invariant"
_BACKEND = "vllm.v1.attention.backend"
NEEDS: dict[str, tuple[Need, ...]] = {
    "norm": (
        Need(f"{_LAYERS}.layernorm:RMSNorm.register_oot"),
        Need(f"{_LAYERS}.layernorm:RMSNorm.forward_native", ("self", "x", "residual")),
        Need("vllm.config:get_cached_compilation_config"),
        Need("vllm._custom_ops:rms_norm", ("out", "input", "weight", "epsilon")),
        Need("vllm._custom_ops:fused_add_rms_norm", ("input", "residual", "weight", "epsilon")),
        Need(f"{_INVARIANT}:rms_norm_batch_invariant", ("input", "weight", "eps")),
    ),
    "activation": (
        Need(f"{_LAYERS}.activation:SiluAndMul.register_oot"),
        Need(f"{_LAYERS}.activation:SiluAndMul.forward_native", ("x",)),
        Need(f"{_LAYERS}.activation:GeluAndMul.forward_native", ("self", "x")),
    ),
    "rotary": (
        Need(f"{_LAYERS}.rotary_embedding.base:RotaryEmbedding.register_oot"),
        Need(f"{_LAYERS}.rotary_embedding.base:RotaryEmbedding._match_cos_sin_cache_dtype", ("query",)),
        Need(
            f"{_LAYERS}.rotary_embedding.base:RotaryEmbedding.forward_static",
            ("positions", "query", "key", "head_size", "rotary_dim", "cos_sin_cache", "is_neox_style"),
        ),
        Need(
            "vllm._custom_ops:rotary_embedding", ("positions", "query", "key", "head_size", "cos_sin_cache", "is_neox")
        ),
    ),
    "linear": (
        Need("vllm.envs:VLLM_BATCH_INVARIANT"),
        Need(f"{_INVARIANT}:linear_batch_invariant", ("input", "weight", "bias")),
        Need("vllm.model_executor.custom_op:PluggableLayer.register_oot"),
        Need(f"{_LAYERS}.linear:UnquantizedLinearMethod.apply", ("layer", "x", "bias")),
        Need(f"{_LAYERS}.linear:UnquantizedLinearMethod.process_weights_after_loading", ("layer",)),
        Need(f"{_LAYERS}.vocab_parallel_embedding:UnquantizedEmbeddingMethod.apply", ("layer", "x", "bias")),
        *(
            Need(f"{_LAYERS}.linear:{name}")
            for name in ("ReplicatedLinear", "MergedColumnParallelLinear", "QKVParallelLinear", "RowParallelLinear")
        ),
    ),
    "fp8_linear": (
        Need(f"{_KERNELS}:register_linear_kernel", ("kernel_class", "platform", "kernel_type")),
        Need(f"{_KERNELS}:Fp8BlockScaledMMLinearKernel.apply_weights", ("layer", "x", "bias")),
        Need(f"{_KERNELS}:Fp8BlockScaledMMLinearKernel.process_weights_after_loading", ("layer",)),
        Need(f"{_KERNELS}:Fp8BlockScaledMMLinearKernel.can_implement", ("config",)),
        Need(f"{_KERNELS}:Fp8BlockScaledMMLinearKernel.apply_block_scaled_mm", ("A", "B", "As", "Bs")),
        Need(f"{_KERNELS}:Fp8BlockScaledMMLinearKernel.apply_input_quant"),
        Need(f"{_KERNELS}:TritonFP8ScaledMMLinearKernel.apply_weights", ("layer", "x", "bias")),
        Need(f"{_KERNELS}:fp8_scaled_mm_is_batch_invariant", ("kernel",)),
        Need("vllm._custom_ops:cutlass_scaled_mm", ("a", "b", "scale_a", "scale_b", "out_dtype", "bias")),
        Need(
            f"{_KERNELS}:choose_scaled_mm_linear_kernel",
            ("config", "possible_kernels", "quantization"),
        ),
        Need("vllm._custom_ops:scaled_fp8_quant", ("input", "scale", "output")),
    ),
    "attention": (
        Need("vllm.v1.attention.backends.registry:register_backend", ("backend", "class_path")),
        Need("vllm.v1.attention.backends.registry:AttentionBackendEnum.CUSTOM"),
        Need("vllm.v1.attention.backends.registry:AttentionBackendEnum.CPU_ATTN"),
        Need("vllm.envs:VLLM_BATCH_INVARIANT"),
        Need("vllm.v1.kv_cache_interface:KVCacheLayout.LBHNC"),
        Need("vllm.v1.kv_cache_interface:KVQuantMode.FP8_PER_TOKEN_HEAD"),
        Need(f"{_BACKEND}:AttentionBackend.customize_spec", ("spec",)),
        Need(f"{_BACKEND}:AttentionMetadataBuilder.build", ("common_prefix_len", "common_attn_metadata", "fast_build")),
        Need(
            f"{_BACKEND}:AttentionImpl.forward",
            ("layer", "query", "key", "value", "kv_cache", "attn_metadata", "output", "output_scale"),
        ),
    ),
    "sampling": (Need("vllm.v1.sample.sampler:Sampler.greedy_sample", ("logits",)),),
    "cpu_shims": (Need("vllm.v1.worker.cpu_worker:CPUWorker"),),
}

PROBE = Probe(
    engine="vLLM",
    package="vllm",
    versions=Path(__file__).with_name(FILE),
    needs=NEEDS,
    skip_env=TABLE.skip_env,
    leave_out="leave opswap out of VLLM_PLUGINS to serve without it",
)
