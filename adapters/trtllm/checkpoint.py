"""The checkpoint format OPSWAP: models in the layouts `fp8_block128` and `bf16`, as `opswap convert` writes them.

Their tensors are named and shaped as TensorRT-LLM's Hugging Face loader reads them, so the loader and the mappers are
its own; what is added is that a checkpoint of another layout is refused, before weights are read into wrong places.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from opswap.adapters.common.probe import AdapterRefused

FORMAT = "OPSWAP"
LAYOUTS = ("fp8_block128", "bf16")
BLOCK = 128
MOST_HEADER = 100 << 20


def layout_of(folder: Path) -> str:
    """What the first file of weights says of itself; empty for a checkpoint that the converter did not write."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return ""
    with files[0].open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 0 < size <= MOST_HEADER:
            raise AdapterRefused(f"opswap: {files[0]} has a header of {size} bytes: it is no safetensors file")
        try:
            header = json.loads(file.read(size))
        except ValueError:
            raise AdapterRefused(f"opswap: the header of {files[0]} is no JSON; convert the model again") from None
    told = header.get("__metadata__") or {} if isinstance(header, dict) else {}
    return str(told.get("opswap.layout", "")) if isinstance(told, dict) else ""


def check(folder: str) -> str:
    """The layout of a checkpoint that this format may read; raises AdapterRefused with the command that makes one."""
    layout = layout_of(Path(folder))
    if layout in LAYOUTS:
        return layout
    found = f"the layout {layout}" if layout else "no layout of opswap's"
    how = "repack" if layout else ""
    command = " ".join(filter(None, ["opswap convert", how, folder, "OUT", "--to", LAYOUTS[0]]))
    raise AdapterRefused(
        f"opswap: seam checkpoint: expected {' or '.join(LAYOUTS)} in {folder}, found {found}; run `{command}` "
        f"(`opswap convert` where that is refused: --to {LAYOUTS[1]} for a model that was not quantised)"
    )


def check_scales(prefix: str, weights: dict[str, Any]) -> None:
    """Raises AdapterRefused where a matrix of codes has not one scale for each 128 x 128."""
    if "weight" not in weights or "weight_scale_inv" not in weights:
        return
    shape, scales = _shape(weights["weight"]), _shape(weights["weight_scale_inv"])
    wanted = [-(-size // BLOCK) for size in shape]
    if scales != wanted:
        raise AdapterRefused(
            f"opswap: seam checkpoint: {prefix}.weight_scale_inv has shape {scales}, expected {wanted} for a weight of "
            f"shape {shape}: the file is not of the layout {LAYOUTS[0]}; run `opswap convert check FOLDER`"
        )


def _shape(tensor: Any) -> list[int]:
    """Of a tensor, or of a slice of a file that is not read yet."""
    return list(tensor.get_shape() if hasattr(tensor, "get_shape") else tensor.shape)


def mapper_of(stock: type) -> type:
    """A mapper that extends the stock one of an architecture, and looks at what it hands to each layer."""

    class OpswapWeightMapper(stock):  # type: ignore[misc]
        def filter_weights(self, prefix: str, weights: dict[str, Any]) -> dict[str, Any]:
            found: dict[str, Any] = super().filter_weights(prefix, weights)
            check_scales(prefix, found)
            return found

    return OpswapWeightMapper


def register(architectures: list[str]) -> None:
    """Registers the loader, and for each architecture a mapper that extends that of its Hugging Face checkpoints."""
    from tensorrt_llm._torch.models import modeling_utils as registry
    from tensorrt_llm._torch.models.checkpoints.hf.checkpoint_loader import HfCheckpointLoader
    from tensorrt_llm._torch.models.checkpoints.hf.weight_mapper import HfWeightMapper

    class OpswapCheckpointLoader(HfCheckpointLoader):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._checkpoint_format = FORMAT

        def load_config(self, checkpoint_dir: str, **kwargs: Any) -> Any:
            check(checkpoint_dir)
            return super().load_config(checkpoint_dir, **kwargs)

    registry.register_checkpoint_loader(FORMAT)(OpswapCheckpointLoader)
    registry.register_mapper(FORMAT)(mapper_of(HfWeightMapper))
    for arch in architectures:
        if own := registry.MODEL_CLASS_MAPPER_MAPPING.get(f"{arch}_HF"):
            registry.register_mapper(FORMAT, arch)(mapper_of(own))
