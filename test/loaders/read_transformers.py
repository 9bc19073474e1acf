"""transformers loads a checkpoint on the CPU and runs it: bare codes, lost scales and NaN show in its logits."""

from pathlib import Path

import torch
import transformers

NAME, VERSION = "transformers", transformers.__version__
# How far logits may be from the source's: FP8 and FP8 inputs leave 0.05 to 0.26 on these random models, INT4 0.5,
# scales that are not read 0.85 and more.
FARTHEST = {"int4": 0.6, "fp8": 0.4}
_sources: dict[Path, torch.Tensor] = {}


def logits(folder: Path, dtype: torch.dtype) -> torch.Tensor:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    with torch.no_grad():
        return model(torch.arange(3, 35).view(1, -1)).logits.float()


def read(_: str, source: Path, output: Path) -> str:
    if source not in _sources:
        _sources[source] = logits(source, torch.float32)
    want = _sources[source]
    off = float((logits(output, torch.bfloat16) - want).norm() / want.norm())
    allowed = FARTHEST["int4" if "w4a8" in output.name else "fp8"]
    return "right" if off < allowed else f"wrong: logits are {off:.2f} of their size off"
