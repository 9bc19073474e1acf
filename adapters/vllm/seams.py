"""The table: which vLLM seam carries which op, how it is installed, and what the user must set for it.

An op without a row is not offered; `TABLE.why_not_offered` says why. House tests hold it against the manifest.
"""

from __future__ import annotations

from opswap.adapters.common.seams import Seam, SeamTable

NO_FLAG = "none; '-NAME' in custom_ops gives the layer back to the compiler"

SEAMS: tuple[Seam, ...] = (
    Seam(
        "norm",
        ("rms_norm", "fused_add_rms_norm"),
        "RMSNorm",
        "CustomOp.register_oot, enabled also under inductor",
        NO_FLAG,
        "norm:install",
    ),
    Seam(
        "activation",
        ("silu_and_mul", "gelu_tanh_and_mul"),
        "SiluAndMul, GeluAndMul(approximate='tanh')",
        "CustomOp.register_oot, enabled also under inductor",
        NO_FLAG,
        "activation:install",
    ),
    Seam(
        "rotary",
        ("rotary_embedding",),
        "RotaryEmbedding and the subclasses that inherit its forward",
        "CustomOp.register_oot, enabled also under inductor",
        NO_FLAG,
        "rotary:install",
    ),
    Seam(
        "attention",
        ("paged_attention", "attention_plan", "reshape_and_cache", "reshape_and_cache_fp8"),
        "attention backends OPSWAP, CUSTOM and, on a CPU, CPU_ATTN; cache layout LBHNC",
        "register_backend",
        "on a GPU: --attention-backend OPSWAP; on a CPU none (the platform always picks CPU_ATTN)",
        "attention:install",
    ),
    Seam(
        "linear",
        ("linear",),
        "the unquantised *Linear classes of layers/linear.py, ParallelLMHead, VocabParallelEmbedding",
        "PluggableLayer.register_oot; the layer swaps UnquantizedLinearMethod for ours",
        "none",
        "linear:install",
    ),
    Seam(
        "fp8_linear",
        ("gemm_fp8_block128", "gemm_fp8", "quantize_fp8"),
        "linear layers in FP8 with a scale per 128 x 128, per output channel or per weight (layouts fp8_*, ct_fp8_*)",
        "register_linear_kernel('fp8_block' and 'fp8'); first on Hopper, on a CPU the last before torch's own",
        "--dtype bfloat16 or float16; VLLM_DISABLED_KERNELS for kernels that shall step back, ours among them",
        "fp8_linear:install",
        kernels=("OpswapFp8BlockKernel", "OpswapFp8Kernel"),
    ),
    Seam(
        "sampling",
        ("greedy_sample", "gumbel_sample"),
        "_C::greedy_argmax, _C::fused_gumbel_argmax, which vLLM's CPU sampler calls",
        "torch.library fragment of _C, only where the operator is missing",
        "none",
        "sampling:install",
        cpu_only=True,
        official=False,
    ),
    Seam(
        "cpu_shims",
        ("rotary_embedding",),
        "_C::init_cpu_memory_env, _C::compute_slot_mapping_kernel_impl, _C::rotary_embedding",
        "torch.library fragment of _C, only where the operator is missing: the accelerator wheel has no CPU kernels",
        "VLLM_TARGET_DEVICE=cpu",
        "cpu_shims:install",
        cpu_only=True,
        official=False,
        counted=False,
    ),
)

NOT_OFFERED: dict[str, str] = {
    "linear_silu_and_mul": "a model's own code calls gate_up_proj, then the activation: vLLM has no hook around both",
    "gemm_bf16_split": "vLLM's routers are linear layers with one weight, and no checkpoint has a split one",
    "grouped_gemm_plan": "vLLM's experts are one layer (FusedMoE), which no seam of ours takes over yet",
    "grouped_gemm_bf16": "vLLM's experts are one layer (FusedMoE), which no seam of ours takes over yet",
    "grouped_gemm_fp8_block128": "vLLM's experts are one layer (FusedMoE), which no seam of ours takes over yet",
    "grouped_gemm_fp8": "vLLM's experts are one layer (FusedMoE), which no seam of ours takes over yet",
    "attention_prefill": "vLLM hands over mixed batches; reached through paged_attention's composed implementation",
    "attention_decode": "vLLM hands over mixed batches; reached through paged_attention's composed implementation",
    "cascade_attention": "no seam of ours knows which sequences share a prefix",
}


TABLE = SeamTable("vLLM", "opswap.adapters.vllm.layers", "OPSWAP_VLLM_SKIP", SEAMS, NOT_OFFERED)
