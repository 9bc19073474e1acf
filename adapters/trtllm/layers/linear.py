"""Linear layers: unquantised ones, and FP8 ones with a scale per 128 x 128.

The seam is `Linear.quant_method`, an object per layer. Ours extends the stock method, which still makes and loads the
weights; a layer of any other method keeps it, and is counted.
"""

from __future__ import annotations

import torch
from opswap.adapters.common.fp8 import fp8_linear, shared_block
from opswap.adapters.common.functional import linear as opswap_linear
from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.trtllm.adapter import ADAPTER
from opswap.adapters.trtllm.refusal import stays
from tensorrt_llm._torch.modules.linear import FP8BlockScalesLinearMethod, Linear, UnquantizedLinearMethod

SKIP = f"{ADAPTER.seams.skip_env}=linear leaves linear layers to TensorRT-LLM"


class _OpswapApply:
    """Mixin before a stock method: every product is one opswap op."""

    def apply(self, module, input, bias, *args, **kwargs):
        asked = args or any(value is not None for value in kwargs.values())
        if stays("linear", "an output buffer of another kind" if asked else None):
            return super().apply(module, input, bias, *args, **kwargs)  # type: ignore[misc]
        return self.product(module, input, bias)

    def apply_out(self, module, input, bias, out):
        """What TensorRT-LLM calls instead of apply for a buffer that ranks share."""
        out.copy_(self.product(module, input, bias))
        return out

    def product(self, module, input, bias) -> torch.Tensor:
        raise NotImplementedError


class OpswapLinearMethod(_OpswapApply, UnquantizedLinearMethod):
    def product(self, module, input, bias) -> torch.Tensor:
        return opswap_linear(input, module.weight.data, bias)


class OpswapFp8BlockMethod(_OpswapApply, FP8BlockScalesLinearMethod):
    def product(self, module, input, bias) -> torch.Tensor:
        if input.dtype == torch.float8_e4m3fn:  # of an attention layer with FP8 output
            input = input.to(torch.bfloat16) * module.input_scale
        return fp8_linear(input, module.weight.data, module.weight_scale.data, bias, module.dtype or input.dtype)

    def load_weights(self, module, weights, *args, **kwargs):
        """TensorRT-LLM puts the scales of fused parts below each other, which a block of two parts does not survive."""
        parts = [part["weight"].shape[0] for part in weights if "weight" in part]
        if reason := shared_block(parts):
            raise AdapterRefused(f"opswap: seam linear: a fused FP8 layer {reason}; or {SKIP}")
        return super().load_weights(module, weights, *args, **kwargs)

    def post_load_weights(self, module):
        super().post_load_weights(module)
        rows, columns = module.weight.shape
        wanted = (-(-rows // 128), -(-columns // 128))
        if tuple(module.weight_scale.shape) != wanted:
            raise AdapterRefused(
                f"opswap: seam linear: expected FP8 scales of shape {wanted} for a weight [{rows}, {columns}], got "
                f"{tuple(module.weight_scale.shape)}: TensorRT-LLM lays them out anew on this card; {SKIP}"
            )


REPLACEMENTS = {UnquantizedLinearMethod: OpswapLinearMethod, FP8BlockScalesLinearMethod: OpswapFp8BlockMethod}


def take_over(model: torch.nn.Module) -> None:
    """Each layer of a built model whose weights exist gets our method. Called by the registered model classes."""
    for module in model.modules():
        if not isinstance(module, Linear) or getattr(module, "quant_method", None) is None:
            continue
        method = type(module.quant_method)
        if method in REPLACEMENTS:
            module.quant_method = REPLACEMENTS[method]()
        elif not isinstance(module.quant_method, _OpswapApply):
            ADAPTER.state.bypass("linear", f"{method.__name__} is a layout that opswap has no op for")


def give_back(model: torch.nn.Module) -> None:
    """The way back: each layer has its stock method again; the weights are the same."""
    stock = {ours: theirs for theirs, ours in REPLACEMENTS.items()}
    for module in model.modules():
        if (method := type(getattr(module, "quant_method", None))) in stock:
            module.quant_method = stock[method]()


def install(_context) -> None:
    from opswap.adapters.trtllm import models

    models.on_built(take_over)
