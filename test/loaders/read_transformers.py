"""transformers loads a checkpoint on the CPU and runs it; every weight it computed with is compared, and its logits.

What it holds of an output is held against what it holds of the source. On a CPU it dequantises block FP8 while it
loads, and the layers of compressed-tensors in the first forward.
"""

import re
from pathlib import Path

# What transformers imports when it first loads a model takes seconds: here once, instead of in the child of each cell.
import compressed_tensors.compressors  # noqa: F401
import torch
import transformers.generation
import transformers.integrations.finegrained_fp8
from loaders import weights
from loaders.families import beside
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

NAME, VERSION = "transformers", transformers.__version__
TOKENS = torch.arange(3, 35).view(1, -1)
# How far logits may be from the source's, of their size: rounded inputs leave 0.05 to 0.3 on these random models, where
# a token may go to another expert; scales that are not read 0.85 and more.
FARTHEST = {"kept": 0.001, "fp8": 0.4, "int4": 0.7}


def load(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model(TOKENS).logits.float()


def reference(source: Path) -> dict[str, dict[str, torch.Tensor]]:
    """What it makes of the source, which must have every value of it; kept beside it for the next cell."""
    file = beside(source, "reference")
    if file.exists():
        return torch.load(file)
    model = load(source)
    state = model.state_dict()
    once = dict(model.named_parameters()) | {name: one for name, one in model.named_buffers() if name in state}
    weights.same_values(load_file(source / "model.safetensors"), once)
    found = {"state": state, "logits": {"": logits(model)}}
    torch.save(found, file)
    return found


def place(name: str) -> tuple[str, bool]:
    layer = re.search(r"\.layers\.(\d+)\.", name)
    return layer[1] if layer else "", ".experts." in name


class Kinds:
    """How each weight is stored in an output; experts, which are stacked under other names, are as their layer's."""

    def __init__(self, output: dict[str, torch.Tensor]):
        self.own = {
            key.removesuffix("_packed"): weights.kind(one) for key, one in output.items() if "weight_s" not in key
        }
        self.experts = {place(key): kind for key, kind in self.own.items() if ".experts." in key}

    def of(self, name: str) -> str:
        return self.own.get(name) or self.experts.get(place(name), "kept")


def read(_: str, source: Path, output: Path) -> str:
    want = reference(source)
    model = load(output)
    said, right = logits(model), want["logits"][""]
    held = model.state_dict()
    kinds = Kinds(load_file(output / "model.safetensors"))
    findings = weights.Findings()
    for name, one in want["state"].items():
        if name in held:
            findings.decide(name, held[name].float(), one.float(), kinds.of(name))
        else:
            findings.wrong.append(f"{name} is not there")
    off = float((said - right).norm() / right.norm())
    if not off <= max(FARTHEST[kind] for kind in kinds.own.values()):
        findings.wrong.append(f"logits are {off:.2f} of their size off")
    return findings.verdict()
