"""The table: which vLLM seam carries which op, how it is installed, and what the user must set for it.

An op without a row is not offered, and `why_not_offered` says why. House tests hold the table against the manifest.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass

from opswap.adapters.vllm.state import STATE

SKIP_ENV = "OPSWAP_VLLM_SKIP"


@dataclass(frozen=True)
class Seam:
    """One row. `install` is `module:function` below layers/; `official` is false for a workaround; `kernels` are the
    classes that vLLM gives to layers of this seam, where it chooses one per layer; not every model has such layers."""

    name: str
    ops: tuple[str, ...]
    target: str
    how: str
    flag: str
    install: str
    cpu_only: bool = False
    official: bool = True
    kernels: tuple[str, ...] = ()


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
        ("paged_attention", "reshape_and_cache"),
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
        ("gemm_fp8_block128",),
        "linear layers in FP8 with a scale per 128 x 128, per output channel or per weight (layouts fp8_*, ct_fp8_*)",
        "register_linear_kernel('fp8_block' and 'fp8'); the last of vLLM's choices, before torch's own",
        "--dtype bfloat16 or float16; VLLM_DISABLED_KERNELS for kernels of vLLM's that are usable here",
        "fp8_linear:install",
        cpu_only=True,
        kernels=("OpswapFp8BlockKernel", "OpswapFp8Kernel"),
    ),
    Seam(
        "sampling",
        ("greedy_sample", "gumbel_sample"),
        "_C::greedy_argmax, _C::fused_gumbel_argmax, which vLLM's CPU sampler calls",
        "torch.library fragment of _C, only where the operator is missing",
        "none",
        "cpu_shims:install_sampling",
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
    ),
)

NOT_OFFERED: dict[str, str] = {
    "attention_prefill": "vLLM hands over mixed batches; reached through paged_attention's composed implementation",
    "attention_decode": "vLLM hands over mixed batches; reached through paged_attention's composed implementation",
}


def why_not_offered(op: str) -> str | None:
    """Why no seam carries an op, or None when one does. A new op needs no entry: it waits for its seam."""
    if any(op in seam.ops for seam in SEAMS):
        return None
    return NOT_OFFERED.get(
        op, "no seam of this adapter carries it yet; call it as torch.ops.opswap or by `opswap call`"
    )


def skipped_by_user() -> set[str]:
    """Seams that OPSWAP_VLLM_SKIP leaves to vLLM; an unknown name is an error, not a silent no-op."""
    names = {name.strip() for name in os.environ.get(SKIP_ENV, "").split(",") if name.strip()}
    unknown = names - {seam.name for seam in SEAMS}
    if unknown:
        known = ", ".join(seam.name for seam in SEAMS)
        raise ValueError(f"opswap: {SKIP_ENV} names {', '.join(sorted(unknown))}; the seams are {known}")
    return names


def why_not(seam: Seam, on_cpu: bool, skipped: set[str]) -> str | None:
    """Why a seam is not installed in this process, or None."""
    if seam.name in skipped:
        return f"left to vLLM by {SKIP_ENV}"
    if seam.cpu_only and not on_cpu:
        return "only for vLLM's CPU platform"
    return None


def chosen(on_cpu: bool) -> list[Seam]:
    """The seams to install here; the others are noted with their reason."""
    skipped = skipped_by_user()
    seams = []
    for seam in SEAMS:
        reason = why_not(seam, on_cpu, skipped)
        if reason is None:
            seams.append(seam)
        else:
            STATE.skipped[seam.name] = reason
    return seams


def install(seam: Seam, on_cpu: bool) -> None:
    """Installs one row and notes it."""
    module_name, _, function = seam.install.partition(":")
    module = importlib.import_module(f"opswap.adapters.vllm.layers.{module_name}")
    if seam.name == "attention":
        module.install(on_cpu)
    else:
        getattr(module, function)()
    STATE.installed[seam.name] = seam.how
