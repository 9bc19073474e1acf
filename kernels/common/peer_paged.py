"""What the peers of the attention rooms share: a paged batch, and torch's attention over its keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from common.peer import Case, Run

#: What these benches do without, by name: the operators have no defaults for tensors.
NO_OPTIONS = dict.fromkeys(("k_scale", "v_scale", "k_scale_cache", "v_scale_cache", "sinks"))


@dataclass
class Pages:
    """A paged batch, and each sequence's keys and values gathered for torch (not charged to it)."""

    query: torch.Tensor
    out: torch.Tensor
    caches: list[torch.Tensor]
    table: torch.Tensor
    starts: torch.Tensor
    lens: torch.Tensor
    gathered: list[torch.Tensor]  # keys, values: [sequences, KH, P, D], equal lengths only
    scale: float

    @staticmethod
    def of(case: Case, dtype: torch.dtype, lens: list[list[int]]) -> Pages:
        used = [-(-n // case["BS"]) for _, n in lens]
        order = torch.randperm(sum(used)).int().split(used)
        table = torch.nn.utils.rnn.pad_sequence(list(order), batch_first=True)
        tokens, cached = [n for n, _ in lens], [n for _, n in lens]
        caches = [torch.randn(sum(used), case["KH"], case["BS"], case[d]).to(dtype) for d in ("D", "V")]
        query = torch.randn(sum(tokens), case["QH"], case["D"]).to(dtype)
        gathered = [
            torch.stack([c[o.long()].transpose(0, 1).flatten(1, 2)[:, :n] for o, n in zip(order, cached, strict=True)])
            for c in caches
            if len(set(cached)) == 1
        ]
        return Pages(
            query,
            torch.empty(sum(tokens), case["QH"], case["V"], dtype=dtype),
            caches,
            table,
            torch.tensor([0, *tokens]).cumsum(0).int(),
            torch.tensor(cached).int(),
            gathered,
            case["D"] ** -0.5,
        )

    def work(self, case: Case, lens: list[list[int]]) -> tuple[int, int]:
        """Bytes of keys and values, and the multiplications and additions that the causal mask leaves."""
        pairs = sum(q * n - q * (q - 1) // 2 for q, n in lens)
        width = case["D"] + case["V"]
        moved = sum(n for _, n in lens) * case["KH"] * width * self.query.element_size()
        return moved, 2 * case["QH"] * pairs * width

    def torch_decode(self) -> Run:
        """One token per sequence. The heads of a group stand as rows: several times faster than enable_gqa."""
        keys, values = self.gathered
        rows = self.query.view(len(self.lens), keys.shape[1], -1, keys.shape[3]).contiguous()
        return lambda: F.scaled_dot_product_attention(rows, keys, values, scale=self.scale)

    def torch_prefill(self) -> Run:
        keys, values = self.gathered
        total, tokens = keys.shape[2], self.query.shape[0] // len(self.lens)
        query = self.query.unflatten(0, (-1, tokens)).transpose(1, 2).contiguous()
        mask = None if tokens == total else torch.ones(tokens, total, dtype=torch.bool).tril(total - tokens)
        masking = {"is_causal": True} if mask is None else {"attn_mask": mask}
        return lambda: F.scaled_dot_product_attention(
            query, keys, values, enable_gqa=True, scale=self.scale, **masking
        ).transpose(1, 2)


def prefill_with(op: Any, p: Pages, absent: str) -> Run:
    """attention_prefill or paged_attention; `absent` is the tensor that only the one of them has."""
    return lambda: op(
        p.out,
        None,
        p.query,
        *p.caches,
        block_table=p.table,
        query_start_loc=p.starts,
        seq_lens=p.lens,
        softmax_scale=p.scale,
        **{absent: None},
        **NO_OPTIONS,
    )
