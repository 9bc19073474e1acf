"""The LM head, whose product LogitsProcessor computes itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from opswap.adapters.common.functional import linear
from opswap.adapters.sglang.adapter import ADAPTER
from opswap.adapters.sglang.layers.hooks import around
from opswap.adapters.sglang.layers.linear import batch_invariant, is_packed

from sglang.srt.layers.logits_processor import should_apply_lm_head_quant_method

TARGET = "sglang.srt.layers.logits_processor.LogitsProcessor._compute_lm_head"


def refusal(processor: Any, head: torch.nn.Module, bias: torch.Tensor | None) -> str | None:
    """Why this product is not the op's."""
    told = {
        "LoRA": hasattr(head, "set_lora"),
        "no plain weight": not hasattr(head, "weight"),
        "quantised": should_apply_lm_head_quant_method(head, getattr(head, "quant_method", None)),
        "computed in float32": processor.use_fp32_lm_head or processor.use_fp32_lm_head_output,
        "the weight is packed for AMX": is_packed(head),
        "rounded as a trainer does": processor.rl_on_policy_target is not None,
        "a bias of the embedding": bias is not None,
    }
    return next((why for why, holds in told.items() if holds), None)


def compute_lm_head(
    original: Callable[..., torch.Tensor],
    processor: Any,
    hidden_states: torch.Tensor,
    lm_head: torch.nn.Module,
    embedding_bias: torch.Tensor | None = None,
    *,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """`out` is a buffer that SGLang's float32 head writes to; others copy their logits into it later."""
    why = refusal(processor, lm_head, embedding_bias)
    if why is not None:
        ADAPTER.state.bypass("LogitsProcessor calls", why)
        return original(processor, hidden_states, lm_head, embedding_bias, out=out)
    weight = lm_head.weight.data
    return linear(hidden_states.to(weight.dtype), weight, None, batch_invariant())


def install(_context) -> None:
    around(TARGET, compute_lm_head)
