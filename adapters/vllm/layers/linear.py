"""Unquantised linear layers, the LM head included.

The seam is PluggableLayer.register_oot on the layer classes, which then swap their *unquantised* method for ours after
the stock constructor has made the weights. The other candidates, and why not: `_C::create_onednn_mm_handler` is a CPU
affair, hides the weight behind a handle and adds a Python call per layer; `layer.cpu_linear` is an attribute that vLLM
sets after loading, with no hook; a quantization config needs a flag and excludes real ones.
"""

from __future__ import annotations

from functools import partial

import torch
from opswap.adapters.common.functional import linear as opswap_linear
from opswap.adapters.common.functional import plain_alias

from vllm import envs
from vllm.model_executor.layers import linear, vocab_parallel_embedding
from vllm.model_executor.layers.linear import UnquantizedLinearMethod
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

LINEAR_CLASSES = (
    linear.ReplicatedLinear,
    linear.ColumnParallelLinear,
    linear.MergedColumnParallelLinear,
    linear.QKVParallelLinear,
    linear.RowParallelLinear,
)
VOCAB_CLASSES = (vocab_parallel_embedding.VocabParallelEmbedding, vocab_parallel_embedding.ParallelLMHead)


class _OpswapApply:
    """Mixin before a stock unquantised method: the weight stays as loaded, and every product is one opswap op."""

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        # vLLM's parameter classes hook every torch call from Python (4 us each); a plain alias of the storage does not.
        layer.opswap_weight = plain_alias(layer.weight)
        # Under vLLM's own setting a row's result is the same in every batch; read once, not in every step.
        layer.opswap_product = partial(opswap_linear, batch_invariant=envs.VLLM_BATCH_INVARIANT)
        # A few vLLM call sites (MoE routers) reach past the method for this attribute.
        layer.cpu_linear = layer.opswap_product

    def apply(self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return layer.opswap_product(x, layer.opswap_weight, bias)


class OpswapLinearMethod(_OpswapApply, UnquantizedLinearMethod):
    pass


class OpswapEmbeddingMethod(_OpswapApply, UnquantizedEmbeddingMethod):
    pass


REPLACEMENTS = {UnquantizedLinearMethod: OpswapLinearMethod, UnquantizedEmbeddingMethod: OpswapEmbeddingMethod}


def _take_over(cls: type) -> type:
    """A subclass of a vLLM layer that differs only in its method, and only when that is exactly the stock one."""

    def __init__(self, *args, **kwargs) -> None:
        cls.__init__(self, *args, **kwargs)
        method = REPLACEMENTS.get(type(self.quant_method))
        if method is not None:
            self.quant_method = method()

    return type(f"Opswap{cls.__name__}", (cls,), {"__init__": __init__, "__module__": __name__})


def install(_context) -> None:
    for cls in (*LINEAR_CLASSES, *VOCAB_CLASSES):
        cls.register_oot(_take_over(cls))
