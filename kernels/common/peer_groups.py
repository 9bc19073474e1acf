"""What the rooms of grouped products are timed against: on a CPU torch's product of one group after the other, on a GPU
torch's grouped one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common.peer import Case, Run, Values

BLOCK = 128


def spread(scale: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """One scale for each element of the last two dimensions, of one for each 128 x 128."""
    return scale.repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)[..., : shape[-2], : shape[-1]]


def in_16_bits(v: Values) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and weight of a product with such scales, in the dtype of its output."""
    x, dtype = v["input"].float(), v["out"].dtype
    if v["input_scale"] is not None:
        scale = v["input_scale"].t() if v["mn_major"] else v["input_scale"]
        x = x * scale.repeat_interleave(BLOCK, 1)[:, : x.shape[1]]
    weight = v["weight"].float() * spread(v["weight_scale"], v["weight"].shape)
    return x.to(dtype), weight.to(dtype)


def first_rows(case: Case) -> torch.Tensor:
    """Of each group and behind the last one."""
    return torch.tensor([0, *case["sizes"]]).cumsum(0).int()


def each_group(x: torch.Tensor, weight: torch.Tensor, case: Case) -> Run:
    out = x.new_empty(len(x), weight.shape[1])
    spans = [group.t() for group in weight], x.split(case["sizes"]), out.split(case["sizes"])

    def run() -> torch.Tensor:
        for group, rows, result in zip(*spans, strict=True):
            torch.mm(rows, group, out=result)
        return out

    return run


def ends(v: Values) -> torch.Tensor:
    """Of the groups, which torch takes one behind the other from row 0 on."""
    if v["expert_first_row"] is None or v["row_indices"] is not None:
        raise ValueError("torch's grouped product has no counts and no rows that lie anywhere: bench offsets alone")
    return v["expert_first_row"][1:].contiguous()


def grouped(x: torch.Tensor, weight: torch.Tensor, v: Values) -> Run:
    by, of = weight.transpose(1, 2), ends(v)
    return lambda: F.grouped_mm(x, by, offs=of)
