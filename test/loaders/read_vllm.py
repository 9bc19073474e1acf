"""vLLM builds its own model and loader on the CPU; no kernel runs, and the card is played as 9.0."""

import importlib
import os
import sys
from pathlib import Path
from unittest.mock import MagicMock

import torch
from loaders import pictures, weights
from safetensors.torch import load_file
from vllm.config import set_current_vllm_config
from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment, parallel_state
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader import get_model_loader
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models import registry
from vllm.platforms import current_platform
from vllm.platforms.interface import DeviceCapability
from vllm.utils.torch_utils import set_default_torch_dtype

NAME, VERSION = "vLLM", importlib.import_module("vllm").__version__
QUANTIZATION = "vllm.model_executor.layers.quantization"
SCHEMES = [
    "fp8",
    "compressed_tensors.schemes.compressed_tensors_w8a8_fp8",
    "compressed_tensors.schemes.compressed_tensors_w4a8_fp8",
    "compressed_tensors.compressed_tensors_moe.compressed_tensors_moe_w8a8_fp8",
    "compressed_tensors.compressed_tensors_moe.compressed_tensors_moe_w4a8_fp8",
]


class Kernel:
    """Stands where a kernel would be chosen for a card that is not there."""

    def __init__(self, *_, **__):
        pass

    def __getattr__(self, name):
        return MagicMock()


def play_hopper() -> None:
    """A card of capability 9.0 that has every kernel; the choice of a model class in this process, not in a child."""
    registry._run_in_subprocess = lambda find: find()
    type(current_platform).get_device_capability = classmethod(lambda *_, **__: DeviceCapability(9, 0))
    for scheme in SCHEMES:
        module = importlib.import_module(f"{QUANTIZATION}.{scheme}")
        for name in dir(module):
            if name.startswith("select_") and "backend" in name:
                setattr(module, name, lambda *_, **__: (MagicMock(), MagicMock()))
            elif name.startswith("init_") and "kernel" in name:
                setattr(module, name, lambda *_, **__: Kernel())
            elif name == "choose_mp_linear_kernel":
                setattr(module, name, lambda *_, **__: Kernel)


sys.modules.update(pictures.modules())  # Qwen3.5's file imports what prepares pictures
play_hopper()


def load(folder: Path) -> torch.nn.Module:
    arguments = EngineArgs(
        model=str(folder), skip_tokenizer_init=True, enforce_eager=True, dtype="bfloat16", max_model_len=64
    )
    config = arguments.create_engine_config()
    with set_current_vllm_config(config):
        if not torch.distributed.is_initialized():
            init_distributed_environment(1, 0, f"file://{folder}.group.{os.getpid()}", 0, backend="gloo")
            ensure_model_parallel_initialized(1, 1)
            parallel_state._EP = parallel_state._EP or parallel_state._TP
        with set_default_torch_dtype(torch.bfloat16):
            model = initialize_model(config, model_config=config.model_config)
        weights.poison(model.named_parameters())
        model.load_weights(get_model_loader(config.load_config).get_all_weights(config.model_config, model))
    return model


def read(family: str, source: Path, output: Path) -> str:
    return weights.compared(family, load_file(source / "model.safetensors"), load(output))
