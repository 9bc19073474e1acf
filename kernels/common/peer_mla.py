"""What the peers of the rooms of latent tokens share: arguments, and torch's rotation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from common.peer import Case


@dataclass
class Tokens:
    """A call's tensors; the key part and the queries are rotated in interleaved pairs."""

    kv_c: torch.Tensor
    k_pe: torch.Tensor
    q_pe: torch.Tensor | None
    q_pe_out: torch.Tensor | None
    positions: torch.Tensor
    cos_sin: torch.Tensor
    slots: torch.Tensor

    @staticmethod
    def of(case: Case, dtype: torch.dtype) -> Tokens:
        tokens, rope = case["T"], case["R"]
        query = torch.randn(tokens, case["QH"], rope).to(dtype) if "QH" in case else None
        return Tokens(
            torch.randn(tokens, case["C"]).to(dtype),
            torch.randn(tokens, rope).to(dtype),
            query,
            None if query is None else torch.empty_like(query),
            torch.randint(case["P"], (tokens,)),
            torch.randn(case["P"], rope),
            torch.randperm(case["NB"] * case["BS"])[:tokens],
        )

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        angles = self.cos_sin[self.positions].view(len(x), *[1] * (x.dim() - 2), -1)
        cos, sin = angles.chunk(2, -1)
        first, second = x.float()[..., ::2], x.float()[..., 1::2]
        return torch.stack([first * cos - second * sin, second * cos + first * sin], -1).flatten(-2).to(x.dtype)

    def moved(self, token_bytes: int) -> int:
        """Bytes of inputs and outputs, of which a token of the cache has this many."""
        given = [x for x in (self.kv_c, self.k_pe, self.q_pe, self.q_pe_out) if x is not None]
        return sum(x.numel() * x.element_size() for x in given) + len(self.kv_c) * (
            token_bytes + self.cos_sin[0].nbytes
        )
