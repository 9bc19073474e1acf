"""The table: which place of TensorRT-LLM's carries which op, how it is taken over, and what the user has to set."""

from __future__ import annotations

from opswap.adapters.common.seams import Seam, SeamTable

SEAMS: tuple[Seam, ...] = (
    Seam(
        "norm",
        ("rms_norm", "fused_add_rms_norm"),
        "trtllm::flashinfer_rmsnorm, trtllm::flashinfer_fused_add_rmsnorm, which RMSNorm calls",
        "override by dispatch key; the stock kernel is kept as framework",
        "flashinfer has to be installed, as it is in NVIDIA's container",
        "norm:install",
    ),
    Seam(
        "activation",
        ("silu_and_mul", "gelu_tanh_and_mul"),
        "trtllm::flashinfer_silu_and_mul; from 1.4 also trtllm::flashinfer_gelu_tanh_and_mul",
        "override by dispatch key; the stock kernel is kept as framework",
        "flashinfer has to be installed, as it is in NVIDIA's container",
        "activation:install",
    ),
    Seam(
        "linear",
        ("linear", "gemm_fp8_block128", "quantize_fp8"),
        "Linear.quant_method, unquantised or FP8 with a scale per 128 x 128",
        "the method of each layer is replaced after the model is built (register_auto_model)",
        "--custom_module_dirs",
        "linear:install",
    ),
    Seam(
        "attention",
        ("rotary_embedding", "reshape_and_cache", "reshape_and_cache_fp8", "paged_attention"),
        "1.2: TrtllmAttention of each layer; from 1.4: the registry FMHA_LIBS",
        "1.2: the class of the layer's object; from 1.4: Fmha and TLLM_FMHA_LIBS",
        "cuda_graph_config: null",
        "attention:install",
    ),
)

NOT_OFFERED: dict[str, str] = {
    "linear_silu_and_mul": "no place was read where a gate, an up projection and the activation are one call",
    "gemm_bf16_split": "no checkpoint has a router's weight in two parts",
    "grouped_gemm_plan": "TensorRT-LLM's experts are one module (create_moe), which no seam of ours takes over",
    "grouped_gemm_bf16": "TensorRT-LLM's experts are one module (create_moe), which no seam of ours takes over",
    "grouped_gemm_fp8_block128": "TensorRT-LLM's experts are one module (create_moe), which no seam of ours takes over",
    "grouped_gemm_fp8": "TensorRT-LLM's experts are one module (create_moe), which no seam of ours takes over",
    "attention_prefill": "TensorRT-LLM hands over mixed batches; reached through paged_attention",
    "attention_decode": "TensorRT-LLM hands over mixed batches; reached through paged_attention",
    "attention_plan": "each call of paged_attention makes its own",
    "cascade_attention": "no seam of ours knows which sequences share a prefix",
    "greedy_sample": "TensorRT-LLM's sampler offers no place for it",
    "gumbel_sample": "TensorRT-LLM's sampler offers no place for it",
}

TABLE = SeamTable("TensorRT-LLM", "opswap.adapters.trtllm.layers", "OPSWAP_TRTLLM_SKIP", SEAMS, NOT_OFFERED)
