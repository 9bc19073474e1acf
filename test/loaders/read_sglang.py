"""SGLang builds its own model and loader on the CPU; no kernel runs, and the card is played as 9.0."""

import re
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import sglang
import sglang.srt.layers.rotary_embedding.factory as rotary
import sglang.srt.model_loader.loader as loaders
import sglang.srt.models.deepseek_v2 as deepseek
import torch
from loaders import weights
from safetensors.torch import load_file
from sglang.benchmark.one_batch import SpawnRanks
from sglang.srt.configs.load_config import LoadConfig
from sglang.srt.configs.model_config import ModelConfig
from sglang.srt.distributed import bootstrap
from sglang.srt.models.registry import ModelRegistry
from sglang.srt.plugins import load_plugins
from sglang.srt.runtime_context import publish
from sglang.srt.server_args import PortArgs, ServerArgs

NAME, VERSION = "SGLang", sglang.__version__
HOPPER = (9, 0)
PARTS = {"w13": r"\.(gate_proj|up_proj|w1|w3)\.input_scale$", "w2": r"\.(down_proj|w2)\.input_scale$"}


def play_hopper() -> None:
    """A card of capability 9.0. Rotations hold no weights, and ask for a GPU, or an op of vLLM, when they are made."""
    sys.modules["vllm"] = types.ModuleType("vllm")
    sys.modules["vllm._custom_ops"] = MagicMock()
    torch.cuda.get_device_capability = lambda *_, **__: HOPPER
    loaders.get_device_capability = lambda *_, **__: HOPPER
    rotary.get_rope_wrapper = lambda *_, **__: torch.nn.Identity()
    deepseek.get_rope_wrapper = rotary.get_rope_wrapper


load_plugins()
# All model files are imported here once, and not in each child.
ModelRegistry.get_supported_archs()
play_hopper()


def start(folder: Path) -> ModelConfig:
    """The process as its scheduler sets it up before it loads."""
    server = ServerArgs(
        model_path=str(folder),
        device="cpu",
        skip_tokenizer_init=True,
        attention_backend="intel_amx",  # one that all models take, of those for a CPU
        sampling_backend="pytorch",
        dtype="bfloat16",
        mem_fraction_static=0.1,
        max_total_tokens=2048,
        disable_cuda_graph=True,
        disable_overlap_schedule=True,
        max_running_requests=8,
        random_seed=1,
        log_level="error",
        context_length=256,
    )
    ports = PortArgs.init_new(server)
    publish(server, role="scheduler", ranks=SpawnRanks(world_rank=0, dp_rank=None, gpu_id=0))
    config = ModelConfig.from_server_args(server)
    bootstrap.init_parallel_runtime(server_args=server, device="cpu", dist_port=ports.nccl_port)
    bootstrap.init_layer_runtime(model_config=config)
    return config


def load(folder: Path) -> torch.nn.Module:
    config = start(folder)
    how = LoadConfig(load_format="safetensors")
    loader = loaders.get_model_loader(how, config)
    torch.set_default_dtype(torch.bfloat16)
    model = loaders._initialize_model(config, how, loaders._get_quantization_config(config, how))
    torch.set_default_dtype(torch.float32)
    weights.poison(model.named_parameters())
    model.load_weights(loader._get_all_weights(config, model))
    return model


def named(family: str, source: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Its Qwen3.5 has attention's layers in the block itself."""
    return {key.replace(".self_attn.", ".") if family == "qwen3.5-moe" else key: one for key, one in source.items()}


def inputs(model: torch.nn.Module, stored: dict[str, torch.Tensor]) -> str:
    """Static scales of inputs that are not the checkpoint's: with one that stays unwritten it computes all the same."""
    for name, scale in model.named_parameters():
        which = re.search(r"\.(w13|w2)_input_scale$", name)
        if which is None:
            continue
        wanted = {
            float(one.to(scale.dtype))
            for key, one in stored.items()
            if key.startswith(f"{name[: which.start()]}.") and re.search(PARTS[which[1]], key)
        }
        if set(scale.detach().flatten().tolist()) != wanted:
            return f"wrong: {name} is read nowhere" if scale.isnan().any() else f"wrong: {name} is not what is stored"
    return ""


def read(family: str, source: Path, output: Path) -> str:
    model = load(output)
    said = weights.compared(family, named(family, load_file(source / "model.safetensors")), model)
    return said if said != "right" else inputs(model, load_file(output / "model.safetensors")) or said
