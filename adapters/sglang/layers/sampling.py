"""Greedy sampling. SGLang asks its table of samplers before it makes its own, under the name that the platform has
chosen, so ours stands under both of its own names and no flag is needed."""

from __future__ import annotations

from typing import Any

import torch
from opswap.adapters.common.functional import greedy_sample
from opswap.adapters.sglang.adapter import ADAPTER

from sglang.srt.layers.sampler import Sampler, register_sampler_backend

NAMES = ("flashinfer", "pytorch")


def refusal(info: Any, return_logprob: bool) -> str | None:
    """Why the op does not choose the tokens of this batch."""
    told = {
        "rows that are not greedy": not info.is_all_greedy,
        "log-probabilities asked for": return_logprob,
        "a sampling mask asked for": info.sampling_mask_batch_indices is not None,
    }
    return next((why for why, holds in told.items() if holds), None)


class OpswapSampler(Sampler):
    def forward(
        self, logits_output: Any, sampling_info: Any, return_logprob: bool, *others: Any, **options: Any
    ) -> torch.Tensor:
        if why := refusal(sampling_info, return_logprob):
            ADAPTER.state.bypass("Sampler calls", why)
            return super().forward(logits_output, sampling_info, return_logprob, *others, **options)
        token_ids = greedy_sample(self._preprocess_logits(logits_output.next_token_logits, sampling_info))
        self._sync_token_ids_across_tp(token_ids, sampling_info)
        return token_ids


def install(_context) -> None:
    for name in NAMES:
        register_sampler_backend(name, OpswapSampler)
