"""Does this vLLM have every seam that the adapter uses, with the signatures it relies on?

Outside the tested range, or with a seam gone, `require` raises: an adapter that half works is worse than one that
refuses. It is called from the plugin's function, never at import, because vLLM swallows import errors.
"""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass

TESTED = ("0.33.0", "0.33.0")


class AdapterRefused(RuntimeError):
    """opswap cannot be used with this vLLM; the message says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Need:
    """One thing the adapter uses: `module:attribute.path`, and for a callable the parameters it passes."""

    where: str
    parameters: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Why it cannot be used, or None."""
        module_name, _, path = self.where.partition(":")
        try:
            value: object = importlib.import_module(module_name)
        except ImportError as error:
            return f"{module_name} cannot be imported ({error})"
        for name in path.split("."):
            if not hasattr(value, name):
                return f"{self.where} does not exist"
            value = getattr(value, name)
        return self._missing_parameters(value)

    def _missing_parameters(self, value: object) -> str | None:
        if not self.parameters:
            return None
        try:
            found = inspect.signature(value).parameters  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return f"{self.where} is not callable"
        lost = [name for name in self.parameters if name not in found]
        return f"{self.where} takes no {', '.join(lost)}" if lost else None


_LAYERS = "vllm.model_executor.layers"
_KERNELS = "vllm.model_executor.kernels.linear"
_BACKEND = "vllm.v1.attention.backend"
NEEDS: dict[str, tuple[Need, ...]] = {
    "norm": (
        Need(f"{_LAYERS}.layernorm:RMSNorm.register_oot"),
        Need(f"{_LAYERS}.layernorm:RMSNorm.forward_native", ("self", "x", "residual")),
        Need("vllm.config:get_cached_compilation_config"),
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
    ),
    "linear": (
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
    ),
    "attention": (
        Need("vllm.v1.attention.backends.registry:register_backend", ("backend", "class_path")),
        Need("vllm.v1.attention.backends.registry:AttentionBackendEnum.CUSTOM"),
        Need("vllm.v1.attention.backends.registry:AttentionBackendEnum.CPU_ATTN"),
        Need("vllm.v1.kv_cache_interface:KVCacheLayout.LBHNC"),
        Need(f"{_BACKEND}:AttentionMetadataBuilder.build", ("common_prefix_len", "common_attn_metadata", "fast_build")),
        Need(
            f"{_BACKEND}:AttentionImpl.forward",
            ("layer", "query", "key", "value", "kv_cache", "attn_metadata", "output", "output_scale"),
        ),
    ),
    "sampling": (Need("vllm.v1.sample.sampler:Sampler.greedy_sample", ("logits",)),),
    "cpu_shims": (Need("vllm.v1.worker.cpu_worker:CPUWorker"),),
}


def version_key(text: str) -> tuple[int, ...]:
    """The numeric release of a version string; `0.33.0+cpu` and `0.33.0` are the same release."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def check_version(version: str) -> str | None:
    """Why this version of vLLM is refused, or None."""
    low, high = TESTED
    if version_key(low) <= version_key(version) <= version_key(high):
        return None
    tested = low if low == high else f"{low} to {high}"
    return f"vLLM {version} is outside the tested range ({tested})"


def missing_needs(seams: list[str]) -> list[str]:
    """What the given seams lack in this vLLM, one sentence each."""
    return [f"{seam}: {why}" for seam in seams for need in NEEDS.get(seam, ()) if (why := need.missing())]


def require(version: str, seams: list[str]) -> None:
    """Raises AdapterRefused when this vLLM is not one that the adapter was tested with."""
    reason = check_version(version)
    if reason is not None:
        raise AdapterRefused(
            f"opswap: {reason}; install vllm=={TESTED[1]}, or leave opswap out of VLLM_PLUGINS to serve without it"
        )
    lost = missing_needs(seams)
    if lost:
        names = ",".join(sorted({sentence.partition(":")[0] for sentence in lost}))
        raise AdapterRefused(
            f"opswap: vLLM {version} lacks what the adapter uses: {'; '.join(lost)}; "
            f"is this a patched build? OPSWAP_VLLM_SKIP={names} leaves these seams to vLLM"
        )
