"""The table: which SGLang seam carries which op, how it is installed, and what the user must set for it.

An op without a row is not offered; `TABLE.why_not_offered` says why. House tests hold it against the manifest.
"""

from __future__ import annotations

from opswap.adapters.common.seams import Seam, SeamTable

BACKEND = "the PLUGIN backend of BaseFusedOp (forward_plugin, capabilities), before SGLang's own kernels"

SEAMS: tuple[Seam, ...] = (
    Seam("norm", ("rms_norm", "fused_add_rms_norm"), "RMSNorm", BACKEND, "none", "norm:install"),
    Seam(
        "activation",
        ("silu_and_mul", "gelu_tanh_and_mul"),
        "SiluAndMul, GeluAndMul(approximate='tanh')",
        BACKEND,
        "none",
        "activation:install",
    ),
    Seam(
        "rotary",
        ("rotary_embedding", "reshape_and_cache"),
        "RotaryEmbedding and the listed subclasses with its forward; K and V where a model has them written there",
        BACKEND,
        "none",
        "rotary:install",
    ),
    Seam(
        "attention",
        ("paged_attention", "attention_plan", "reshape_and_cache", "reshape_and_cache_fp8"),
        "attention backend opswap, on the token-major pool, any page size",
        "register_attention_backend",
        "--attention-backend opswap",
        "attention:install",
    ),
    Seam(
        "linear",
        ("linear",),
        "UnquantizedLinearMethod.apply, and apply_with_addend through it",
        "AROUND hook: SGLang has no registry of unquantised linear methods",
        "none",
        "linear:install",
        official=False,
    ),
    Seam(
        "lm_head",
        ("linear",),
        "LogitsProcessor._compute_lm_head, which goes past the quantisation method",
        "AROUND hook",
        "none",
        "lm_head:install",
        official=False,
    ),
    Seam(
        "sampling",
        ("greedy_sample",),
        "the samplers flashinfer and pytorch, where all rows are greedy and no log-probabilities are asked for",
        "register_sampler_backend",
        "none",
        "sampling:install",
    ),
    Seam(
        "fp8_linear",
        ("gemm_fp8_block128", "gemm_fp8"),
        "linear layers in FP8 with a scale per 128 x 128, per output channel or per weight",
        "AROUND and BEFORE hooks in fp8.py, fp8_utils.py and compressed-tensors' W8A8 FP8: the list is closed",
        "--dtype bfloat16 or float16",
        "fp8_linear:install",
        cpu_only=True,
        official=False,
        kernels=("opswap_block_fp8",),
    ),
)

NOT_OFFERED: dict[str, str] = {
    "linear_silu_and_mul": "a model's own code calls gate_up_proj, then the activation: SGLang has no hook around both",
    "gemm_bf16_split": "SGLang's routers have one weight, and no checkpoint has a split one",
    "grouped_gemm_plan": "SGLang's experts are one method, chosen inside SGLang from a closed list",
    "grouped_gemm_bf16": "SGLang's experts are one method, chosen inside SGLang from a closed list",
    "grouped_gemm_fp8_block128": "SGLang's experts are one method, chosen inside SGLang from a closed list",
    "grouped_gemm_fp8": "SGLang's experts are one method, chosen inside SGLang from a closed list",
    "attention_prefill": "SGLang hands over mixed batches; reached through paged_attention's composed implementation",
    "attention_decode": "SGLang hands over mixed batches; reached through paged_attention's composed implementation",
    "cascade_attention": "no seam of ours knows which sequences share a prefix",
    "gumbel_sample": "SGLang draws from probabilities with a seed per position, which the op does not take",
}


TABLE = SeamTable("SGLang", "opswap.adapters.sglang.layers", "OPSWAP_SGLANG_SKIP", SEAMS, NOT_OFFERED)
