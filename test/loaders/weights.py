"""Whether a reader's parameters are a checkpoint's weights: codes times scales against every tensor of the source."""

import math
import re

import torch

# What a reader may lose: codes of FP8 leave 31 dB, of INT4 in groups of 128 about 20.
LEAST_DB = {"fp8": 30.0, "int4": 18.0}
PACKED = {torch.int32: 8, torch.int8: 2}
# Half a block: a tile has one scale, whichever block a reader takes it from.
TILE = 64
# Parts of what engines fuse, in the order of rows.
FUSED = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "fused_qkv_a_proj": ("q_a_proj", "kv_a_proj_with_mqa"),
    "fused_qkv_a_proj_with_mqa": ("q_a_proj", "kv_a_proj_with_mqa"),
    "in_proj_qkvz": ("in_proj_qkv", "in_proj_z"),
    "in_proj_ba": ("in_proj_b", "in_proj_a"),
}
EXPERT_PARTS = {"w13": (("gate_proj", "up_proj"), ("w1", "w3")), "w2": (("down_proj",), ("w2",))}
SCALE = re.compile(r"_scale(_inv)?$")


def poison(parameters) -> None:
    """So that what the loader does not write is seen: NaN in floats and FP8, -1 in packed codes."""
    with torch.no_grad():
        for _, parameter in parameters:
            if parameter.dtype == torch.float8_e4m3fn:
                parameter.data.view(torch.uint8).fill_(0xFF)
            elif parameter.dtype.is_floating_point:
                parameter.data.fill_(math.nan)
            elif parameter.dtype in PACKED:
                parameter.data.fill_(-1)


def unpacked(codes: torch.Tensor) -> torch.Tensor:
    if codes.dtype == torch.int32:
        nibbles = (codes.unsqueeze(-1) >> torch.arange(0, 32, 4, dtype=torch.int32)) & 15
        return (nibbles.float() - 8).flatten(-2)
    if codes.dtype == torch.int8:
        return torch.stack([(codes << 4) >> 4, codes >> 4], -1).float().flatten(-2)
    return codes.float()


def times(codes: torch.Tensor, scale: torch.Tensor | None, rows: list[int]) -> torch.Tensor:
    """A matrix of codes with its scales; `rows` are those of its parts, which a vector of scales counts."""
    weight = unpacked(codes)
    if scale is None:
        return weight
    scale = scale.float()
    if scale.numel() == 1:
        return weight * scale.reshape(())
    if scale.dim() == 1:
        return weight * scale.repeat_interleave(torch.tensor(rows))[:, None]
    down = 1 if scale.shape[0] == weight.shape[0] else 128
    across = weight.shape[1] if scale.shape[1] == 1 and down == 1 and weight.shape[1] > 128 else 128
    return (
        weight * scale.repeat_interleave(down, 0)[: weight.shape[0]].repeat_interleave(across, 1)[:, : weight.shape[1]]
    )


def kind(codes: torch.Tensor) -> str:
    return "fp8" if codes.dtype == torch.float8_e4m3fn else "int4" if codes.dtype in PACKED else "kept"


def energies(matrix: torch.Tensor) -> torch.Tensor:
    """Of each tile."""
    rows, columns = matrix.shape[-2:]
    full = torch.nn.functional.pad(matrix.double().square(), (0, -columns % TILE, 0, -rows % TILE))
    return full.unfold(-2, TILE, TILE).unfold(-2, TILE, TILE).sum((-1, -2))


def decibels(got: torch.Tensor, want: torch.Tensor) -> float:
    """Of the worst tile: part of a block with its neighbour's scale is little of a matrix."""
    if torch.equal(got, want):
        return math.inf
    if not bool(torch.isfinite(got).all()):
        return -math.inf
    if got.dim() < 2:
        got, want = got.reshape(1, -1), want.reshape(1, -1)
    ratios = energies(want) / energies(got - want)
    return float(10 * torch.log10(ratios.nan_to_num(math.inf)).min())


def same_values(source: dict[str, torch.Tensor], model: dict[str, torch.Tensor]) -> None:
    """A model that has not each value of the source once cannot stand for it."""
    one, other = (torch.cat([part.float().flatten() for part in every.values()]) for every in (source, model))
    if one.numel() != other.numel() or not torch.equal(one.sort().values, other.sort().values):
        raise ValueError(f"the source has {one.numel()} values, and its model {other.numel()}, which are not the same")


class Findings:
    def __init__(self) -> None:
        self.wrong: list[str] = []

    def decide(self, name: str, got: torch.Tensor, want: torch.Tensor, stored: str) -> None:
        if got.shape != want.shape:
            self.wrong.append(f"{name} is {list(got.shape)}, not {list(want.shape)}")
            return
        found = decibels(got, want)
        if found < LEAST_DB.get(stored, math.inf):
            level = f"is at {found:.1f} dB" if math.isfinite(found) else "is lost"
            self.wrong.append(f"{name} ({stored}) {level}")

    def verdict(self) -> str:
        more = f", and {len(self.wrong) - 1} more" if len(self.wrong) > 1 else ""
        return f"wrong: {self.wrong[0]}{more}" if self.wrong else "right"


class Comparison(Findings):
    """Counts what was compared: a tensor of the source that nobody looked at is as wrong as one that differs."""

    def __init__(self, family: str, source: dict[str, torch.Tensor]):
        super().__init__()
        self.family = family
        self.source = source
        self.left = {name for name in source if not name.endswith("rotary_emb.inv_freq")}

    def take(self, name: str) -> torch.Tensor | None:
        found = self.source.get(name)
        self.left.discard(name)
        return found if found is None else found.float()

    def judge(self, name: str, got: torch.Tensor, want: torch.Tensor, codes: torch.Tensor) -> None:
        got = got[: want.shape[0]] if got.shape[1:] == want.shape[1:] else got
        self.decide(name, got, want, kind(codes))

    def module(self, name: str, parameters: dict[str, torch.Tensor], widths: list[int]) -> None:
        """A module's own parameters; experts have those of all in one. `widths` are the rows of what it fuses."""
        expert = {key.split("_")[0] for key in parameters if re.match(r"w(13|2)_(weight|bias)", key)}
        for which in sorted(expert):
            self.experts(re.sub(r"\.routed_experts$", "", name), which, parameters)
        if expert:
            return
        codes = "weight_packed" if "weight_packed" in parameters else "weight"
        scales = [one for key, one in parameters.items() if SCALE.search(key) and "input" not in key]
        for key, one in parameters.items():
            if SCALE.search(key) or (key.startswith("weight_") and key != codes):
                continue
            what = "weight" if key == codes else key
            wanted = self.parts(name, what)
            if not wanted and one.dim() > 1:
                self.wrong.append(f"{name}.{key} is no matrix of the source")
            elif wanted:
                scale = scales[0] if key == codes and scales else None
                rows = widths or [part.shape[0] for part in wanted]
                got = times(one, scale, rows) if one.dim() == 2 else one.float()
                self.judge(f"{name}.{what}", got.reshape(-1, *got.shape[1:]), torch.cat(wanted).reshape(got.shape), one)

    def parts(self, name: str, what: str) -> list[torch.Tensor]:
        parent, _, leaf = name.rpartition(".")
        leaves = FUSED.get(leaf, (leaf,)) if f"{name}.{what}" not in self.source else (leaf,)
        names = [".".join(filter(None, (self.renamed(f"{parent}.{one}" if parent else one), what))) for one in leaves]
        found = [(one, self.take(one)) for one in names]
        return [self.rotated(one, part) for one, part in found if part is not None]

    def renamed(self, name: str) -> str:
        if self.family != "gpt-oss":
            return name
        return name.replace(".attn", ".self_attn").replace("model.embedding", "model.embed_tokens")

    def rotated(self, name: str, part: torch.Tensor) -> torch.Tensor:
        """vLLM and SGLang keep Llama 4's queries and keys in the order of another rotation."""
        if self.family != "llama4" or not re.search(r"\.[qk]_proj\.weight$", name):
            return part
        return part.view(-1, 32, 2, part.shape[1]).transpose(1, 2).reshape(part.shape)

    def experts(self, name: str, which: str, parameters: dict[str, torch.Tensor]) -> None:
        codes = next(key for key in (f"{which}_weight_packed", f"{which}_weight") if key in parameters)
        scales = [f"{which}_weight_scale_inv", f"{which}_weight_scale"]
        scale = next((parameters[key] for key in scales if key in parameters), None)
        for index in range(parameters[codes].shape[0]):
            wanted = self.expert(name, which, index)
            if not wanted:
                self.wrong.append(f"{name}.{which} has no counterpart")
                return
            one = parameters[codes][index]
            own = None if scale is None else scale[index]
            got = times(one, own, [part.shape[0] for part in wanted])
            self.judge(f"{name}.{index}.{which}", got, torch.cat(wanted), one)
        bias = parameters.get(f"{which}_bias")
        stacked = self.take(f"{name}.{'gate_up_proj' if which == 'w13' else 'down_proj'}_bias")
        if bias is not None and stacked is not None:
            self.judge(f"{name}.{which}_bias", bias.float()[..., : stacked.shape[1]], stacked, bias)

    def expert(self, name: str, which: str, index: int) -> list[torch.Tensor]:
        stacked = self.take(f"{name}.{'gate_up_proj' if which == 'w13' else 'down_proj'}")
        if stacked is not None:
            transposed = self.family in ("gpt-oss", "llama4")
            return [stacked[index].T if transposed else stacked[index]]
        for parts in EXPERT_PARTS[which]:
            found = [self.take(f"{name}.{index}.{part}.weight") for part in parts]
            if all(part is not None for part in found):
                return found
        return []

    def verdict(self) -> str:
        self.wrong += [f"{name} is read nowhere" for name in sorted(self.left)]
        self.left.clear()
        return super().verdict()


def compared(family: str, source: dict[str, torch.Tensor], model: torch.nn.Module) -> str:
    comparison = Comparison(family, source)
    seen: set[int] = set()
    for name, module in model.named_modules():
        own = {key: one for key, one in module.named_parameters(recurse=False) if id(one) not in seen}
        seen |= {id(one) for one in own.values()}  # a tied head is the embeddings
        own |= {key: one for key, one in module.named_buffers(recurse=False) if f"{name}.{key}" in source}
        if own:
            widths = list(getattr(module, "output_partition_sizes", []))
            comparison.module(name, {key: one.detach() for key, one in own.items()}, widths)
    return comparison.verdict()
