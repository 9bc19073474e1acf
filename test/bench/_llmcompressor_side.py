"""llm-compressor's side of the converter's benchmark.

python _llmcompressor_side.py SOURCE OUTPUT SCHEME   converts on the CPU; prints the seconds of the call as JSON
python _llmcompressor_side.py --same OURS THEIRS     share of equal codes, by what they are

Imports are not in its time. What it shares with the engine, torch above all, comes from the packages of
OPSWAP_ENGINE_PYTHON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

ENGINE = Path(os.environ["OPSWAP_ENGINE_PYTHON"]).parents[1]
# Behind this environment's own packages, of which compressed-tensors has another version there.
sys.path.append(str(next(ENGINE.glob("lib/python3*/site-packages"))))
os.environ["HF_HUB_OFFLINE"] = "1"


def convert(source: str, output: str, scheme: str) -> None:
    from llmcompressor import model_free_ptq

    started = time.perf_counter()
    kept = ["lm_head", "model.embed_tokens"]
    model_free_ptq(model_stub=source, save_directory=output, scheme=scheme, ignore=kept, device="cpu")
    print(json.dumps({"seconds": time.perf_counter() - started}))


def tensors_of(folder: str) -> dict:
    from safetensors.torch import load_file

    return {name: x for file in sorted(Path(folder).glob("*.safetensors")) for name, x in load_file(file).items()}


def codes_of(tensors: dict, weight: str):
    """INT4 is packed in ours, and a byte each in what model_free_ptq writes."""
    import torch

    packed = tensors.get(f"{weight}_packed")
    if packed is None:
        return tensors[weight].view(torch.uint8)
    nibbles = (packed.unsqueeze(-1) >> (4 * torch.arange(8))) & 15
    return (nibbles - 8).to(torch.int8).flatten(1).view(torch.uint8)


def print_equal_shares(ours: str, theirs: str) -> None:
    """The share of equal codes and of equal scales, over the quantised matrices."""
    mine, yours = tensors_of(ours), tensors_of(theirs)
    equal = {"codes": 0, "scales": 0}
    count = {"codes": 0, "scales": 0}
    for name in (name for name in yours if name.endswith(".weight_scale")):
        weight = name.removesuffix("_scale")
        pairs = {"codes": (codes_of(mine, weight), codes_of(yours, weight))}
        pairs["scales"] = (mine.get(name, mine.get(f"{name}_inv")).float(), yours[name].float())
        for what, (a, b) in pairs.items():
            equal[what] += int((a == b).sum())
            count[what] += a.numel()
    print(json.dumps({what: round(equal[what] / count[what], 5) for what in count}))


if __name__ == "__main__":
    if sys.argv[1] == "--same":
        print_equal_shares(*sys.argv[2:])
    else:
        convert(*sys.argv[1:])
