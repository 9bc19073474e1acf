"""compressed-tensors alone: it matches layers and decompresses them, in the version that is on the path."""

import json
import re
from pathlib import Path

import compressed_tensors
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
from loaders import weights
from safetensors.torch import load_file

NAME, VERSION = "compressed-tensors", compressed_tensors.__version__
Tensors = dict[str, torch.Tensor]


def skeleton(tensors: Tensors) -> torch.nn.Module:
    """A model whose layers have the names of the source's matrices: which are quantised is asked of their names."""
    root = torch.nn.Module()
    for name, tensor in tensors.items():
        *parents, leaf, kind = name.split(".")
        if kind != "weight" or tensor.dim() != 2:
            continue
        place = root
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, torch.nn.Module())
            place = getattr(place, parent)
        rows, columns = tensor.shape
        embedding = leaf == "embed_tokens"
        layer = torch.nn.Embedding(rows, columns) if embedding else torch.nn.Linear(columns, rows, bias=False)
        place.add_module(leaf, layer)
    return root


def decompressed(stored: Tensors, scheme) -> torch.Tensor:
    compressor = BaseCompressor.get_value_from_registry(str(getattr(scheme.format, "value", scheme.format)))
    return compressor.decompress(stored, scheme)["weight"]


def layers(model: torch.nn.Module, stored: Tensors):
    """Layers that its config quantises, each with what is stored of it, which is taken out of `stored`."""
    for name, layer in model.named_modules():
        scheme = getattr(layer, "quantization_scheme", None)
        if scheme is not None:
            own = [key for key in stored if re.fullmatch(rf"{re.escape(name)}\.weight(_\w+)?", key)]
            yield name, scheme, {key.removeprefix(f"{name}."): stored.pop(key) for key in own}


def read(family: str, source: Path, output: Path) -> str:
    wanted, stored = load_file(source / "model.safetensors"), load_file(output / "model.safetensors")
    config = json.loads((output / "config.json").read_text())["quantization_config"]
    model = skeleton(wanted)
    apply_quantization_config(model, QuantizationConfig.model_validate(config))
    comparison = weights.Comparison(family, wanted)
    for name, scheme, own in layers(model, stored):
        codes = own.get("weight_packed", own.get("weight"))
        comparison.judge(f"{name}.weight", decompressed(own, scheme).float(), comparison.take(f"{name}.weight"), codes)
    for name, tensor in stored.items():
        want = comparison.take(name)
        if want is None:
            comparison.wrong.append(f"{name} is no tensor of the source")
        else:
            comparison.judge(name, tensor.float(), want, tensor)
    return comparison.verdict()
