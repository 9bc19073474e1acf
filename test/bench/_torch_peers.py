"""For each op: the call of the library and what torch eager offers for the same work, on the same data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

Case = dict[str, Any]
ops = torch.ops.opswap


@dataclass
class Pair:
    """Both sides, how to see that they agree, and what the op must at least move and compute."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    result: torch.Tensor | None = None  # what ours wrote; None where the sides cannot be compared
    bytes: int = 0
    flops: int = 0

    def check(self) -> None:
        if self.result is None:
            return
        self.ours()
        theirs = self.theirs()
        tolerance = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}.get(self.result.dtype, 0)
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(
            self.result.double(), theirs.double().view_as(self.result), rtol=tolerance, atol=tolerance * scale
        )


def size(*tensors: torch.Tensor) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def rms_norm(case: Case, dtype: torch.dtype) -> Pair:
    x, w = torch.randn(case["T"], case["H"]).to(dtype), torch.rand(case["H"]).to(dtype)
    out = torch.empty_like(x)
    return Pair(
        lambda: ops.rms_norm.default(out, x, w, 1e-6),
        lambda: F.rms_norm(x, (case["H"],), w, 1e-6),
        out,
        size(x, out, w),
    )


def fused_add_rms_norm(case: Case, dtype: torch.dtype) -> Pair:
    x, residual, w = (torch.randn(case["T"], case["H"]).to(dtype) for _ in range(3))
    w = w[0].contiguous()
    ours, ours_residual = x.clone(), torch.zeros_like(x)  # the residual stays finite: each call adds a normed row

    def theirs() -> Any:
        total = x + residual
        return F.rms_norm(total, (case["H"],), w, 1e-6)

    return Pair(lambda: ops.fused_add_rms_norm.default(ours, ours_residual, w, 1e-6), theirs, None, 4 * size(x))


def layer_norm(case: Case, dtype: torch.dtype) -> Pair:
    x, (w, b) = torch.randn(case["T"], case["H"]).to(dtype), torch.rand(2, case["H"]).to(dtype)
    out = torch.empty_like(x)
    return Pair(
        lambda: ops.layer_norm.default(out, x, w, b, 1e-5),
        lambda: F.layer_norm(x, (case["H"],), w, b, 1e-5),
        out,
        size(x, out, w, b),
    )


def rms_norm_pair(case: Case, dtype: torch.dtype) -> Pair:
    """Both are columns of one row, as a model's down projection writes them."""
    both = torch.randn(case["T"], case["Q"] + case["KV"]).to(dtype)
    parts = both.split([case["Q"], case["KV"]], -1)
    weights, outs = (
        [torch.rand(p.shape[-1]).to(dtype) for p in parts],
        [torch.empty(p.shape, dtype=dtype) for p in parts],
    )

    def theirs() -> Any:
        normed = [F.rms_norm(p, (p.shape[-1],), w, 1e-6) for p, w in zip(parts, weights, strict=True)]
        return normed[0]

    return Pair(lambda: ops.rms_norm_pair.default(*outs, *parts, *weights, 1e-6), theirs, outs[0], 2 * size(both))


def activation(name: str, flags: tuple, function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Pair]:
    def make(case: Case, dtype: torch.dtype) -> Pair:
        op, x = getattr(ops, name).default, torch.randn(case["T"], case["I"]).to(dtype)
        out = torch.empty_like(x)
        return Pair(lambda: op(out, x, *flags), lambda: function(x), out, size(x, out))

    return make


def to_fp8(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Groups of 128 columns."""
    groups = x.float().unflatten(-1, (-1, 128))
    scale = groups.abs().amax(-1, keepdim=True).clamp(min=1e-4) / 448
    return (groups / scale).clamp(-448, 448).to(torch.float8_e4m3fn).view(x.shape), scale.squeeze(-1)


def fp8_outputs(rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty(rows, columns, dtype=torch.float8_e4m3fn), torch.empty(rows, -(-columns // 128))


def quantize_fp8(case: Case, dtype: torch.dtype) -> Pair:
    x = torch.randn(case["T"], -(-case["H"] // 128) * 128).to(dtype)  # torch's side needs whole groups
    out, scale = fp8_outputs(*x.shape)
    ours = ops.quantize_fp8.default
    return Pair(lambda: ours(out, scale, x, 1, 128, False, False), lambda: to_fp8(x), None, size(x, out, scale))


def gated(name: str, activation: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Case, torch.dtype], Pair]:
    def make(case: Case, dtype: torch.dtype) -> Pair:
        op = getattr(ops, name).default
        x, out = torch.randn(case["T"], 2 * case["I"]).to(dtype), torch.empty(case["T"], case["I"], dtype=dtype)

        def theirs() -> Any:
            gate, up = x.chunk(2, -1)
            return activation(gate) * up

        return Pair(lambda: op(out, x), theirs, out, size(x, out))

    return make


def rotary_embedding(case: Case, dtype: torch.dtype) -> Pair:
    query, key = (torch.randn(case["T"], case[h], case["D"]).to(dtype) for h in ("QH", "KH"))
    positions = torch.randint(0, case["P"], (case["T"],))
    angle = torch.arange(case["P"])[:, None] / 10000 ** (torch.arange(0, case["R"], 2) / case["R"])
    cache = torch.cat([angle.cos(), angle.sin()], -1).to(dtype)
    ours, ours_key = query.clone(), key.clone()

    def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def theirs() -> Any:
        cos, sin = cache[positions][:, None].chunk(2, -1)
        return rotate(query, cos, sin), rotate(key, cos, sin)

    return Pair(
        lambda: ops.rotary_embedding.default(positions, ours, ours_key, cache, True), theirs, None, 2 * size(query, key)
    )


def reshape_and_cache(case: Case, dtype: torch.dtype) -> Pair:
    key, value = (torch.randn(case["T"], case["KH"], case[d]).to(dtype) for d in ("D", "V"))
    caches = [torch.zeros(case["NB"], case["KH"], case["BS"], case[d], dtype=dtype) for d in ("D", "V")] * 2
    caches = [c.clone() for c in caches]
    slots = torch.randperm(case["NB"] * case["BS"])[: case["S"]]

    def theirs() -> Any:
        block, at = slots // case["BS"], slots % case["BS"]
        caches[2][block, :, at] = key
        caches[3][block, :, at] = value
        return caches[3]

    return Pair(
        lambda: ops.reshape_and_cache.default(key, value, caches[0], caches[1], slots),
        theirs,
        caches[1],
        2 * size(key, value),
    )


def linear(case: Case, dtype: torch.dtype) -> Pair:
    x, w = torch.randn(case["M"], case["K"]).to(dtype), torch.randn(case["N"], case["K"]).to(dtype)
    out = torch.empty(case["M"], case["N"], dtype=dtype)
    return Pair(
        lambda: ops.linear.default(out, x, w, None),
        lambda: F.linear(x, w),
        out,
        size(x, w, out),
        2 * case["M"] * case["N"] * case["K"],
    )


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

    def torch_decode(self) -> Callable[[], torch.Tensor]:
        """One token per sequence. The heads of a group stand as rows: several times faster than enable_gqa."""
        keys, values = self.gathered
        rows = self.query.view(len(self.lens), keys.shape[1], -1, keys.shape[3]).contiguous()
        return lambda: F.scaled_dot_product_attention(rows, keys, values, scale=self.scale)

    def torch_prefill(self) -> Callable[[], torch.Tensor]:
        keys, values = self.gathered
        total, tokens = keys.shape[2], self.query.shape[0] // len(self.lens)
        query = self.query.unflatten(0, (-1, tokens)).transpose(1, 2).contiguous()
        mask = None if tokens == total else torch.ones(tokens, total, dtype=torch.bool).tril(total - tokens)
        how = {"is_causal": True} if mask is None else {"attn_mask": mask}
        return lambda: F.scaled_dot_product_attention(
            query, keys, values, enable_gqa=True, scale=self.scale, **how
        ).transpose(1, 2)


def attention_decode(case: Case, dtype: torch.dtype) -> Pair:
    p = Pages.of(case, dtype, case["lens"])
    return Pair(
        lambda: ops.attention_decode.default(p.out, None, p.query, *p.caches, p.table, p.lens, p.scale, -1, 0.0),
        p.torch_decode(),
        p.out,
        *p.work(case, case["lens"]),
    )


def prefill_with(op: Any, p: Pages) -> Callable[[], Any]:
    return lambda: op(p.out, None, p.query, *p.caches, p.table, p.starts, p.lens, p.scale, True, -1, 0.0)


def attention_prefill(case: Case, dtype: torch.dtype) -> Pair:
    p = Pages.of(case, dtype, case["lens"])
    theirs = p.torch_prefill()
    return Pair(
        prefill_with(ops.attention_prefill.default, p),
        lambda: theirs().contiguous(),
        p.out,
        *p.work(case, case["lens"]),
    )


def paged_attention(case: Case, dtype: torch.dtype) -> Pair:
    """A mixed batch; torch runs the decoding sequences and the prefilling one as two calls."""
    p = Pages.of(case, dtype, case["lens"])
    decode = Pages.of(case, dtype, [n for n in case["lens"] if n[0] == 1]).torch_decode()
    prefill = Pages.of(case, dtype, [n for n in case["lens"] if n[0] > 1]).torch_prefill()
    return Pair(
        prefill_with(ops.paged_attention.default, p), lambda: (decode(), prefill()), None, *p.work(case, case["lens"])
    )


def greedy_sample(case: Case, dtype: torch.dtype) -> Pair:
    logits, ids = torch.randn(case["B"], case["V"]).to(dtype), torch.empty(case["B"], dtype=torch.int64)
    return Pair(lambda: ops.greedy_sample.default(ids, logits), lambda: logits.argmax(-1), None, size(logits))


def gumbel_sample(case: Case, dtype: torch.dtype) -> Pair:
    logits, ids = torch.randn(case["B"], case["V"]).to(dtype), torch.empty(case["B"], dtype=torch.int64)
    seeds = torch.arange(case["B"])

    def theirs() -> Any:
        noise = torch.empty(logits.shape, dtype=torch.float32).exponential_().log_()
        return (logits - noise).argmax(-1)

    return Pair(lambda: ops.gumbel_sample.default(ids, logits, seeds), theirs, None, size(logits))


PEERS: dict[str, Callable[[Case, torch.dtype], Pair]] = {
    "rms_norm": rms_norm,
    "layer_norm": layer_norm,
    "rms_norm_pair": rms_norm_pair,
    "quantize_fp8": quantize_fp8,
    "fused_add_rms_norm": fused_add_rms_norm,
    "silu_and_mul": gated("silu_and_mul", F.silu),
    "gelu_tanh_and_mul": gated("gelu_tanh_and_mul", lambda x: F.gelu(x, approximate="tanh")),
    "silu": activation("silu", (), F.silu),
    "gelu": activation("gelu", (False,), F.gelu),
    "rotary_embedding": rotary_embedding,
    "reshape_and_cache": reshape_and_cache,
    "attention_prefill": attention_prefill,
    "attention_decode": attention_decode,
    "paged_attention": paged_attention,
    "linear": linear,
    "greedy_sample": greedy_sample,
    "gumbel_sample": gumbel_sample,
}
