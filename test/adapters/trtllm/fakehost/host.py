"""A host that imitates how TensorRT-LLM imports a custom package and hands model classes to its workers.

The definitions are those of a contract's table; the bodies below are written for the tests. Nothing here shows how the
real engine serves.
"""

from __future__ import annotations

from pathlib import Path

from opswap.adapters.trtllm.probe import PACKAGE, contracts
from skeleton import Fill, tree_of, write

VERSIONS = {"1.2": "1.2.1", "main": "1.4.0rc1"}
MODELS = "tensorrt_llm._torch.models"
LINEAR = "tensorrt_llm._torch.modules.linear"
CHECKPOINTS = f"{MODELS}.checkpoints"

TOPS = {
    f"{MODELS}.modeling_utils": """
import importlib
from typing import Generic, TypeVar
from torch import nn
TModel, TConfig = TypeVar("TModel"), TypeVar("TConfig")
_external = {}
""",
    LINEAR: """
import math
from abc import ABC
from enum import IntEnum
import torch
from torch import nn
class BufferKind(IntEnum):
    DEFAULT = 0
""",
    "tensorrt_llm._torch.modules.rms_norm": """
import torch
import tensorrt_llm._torch.custom_ops
from torch import nn
_ARGUMENT_NOT_SPECIFIED_SENTINEL = ...
""",
    "tensorrt_llm._torch.custom_ops.flashinfer_custom_ops": "import torch\nIS_AVAILABLE = True\n",
    f"{CHECKPOINTS}.base_checkpoint_loader": f"""
from abc import ABC
from {CHECKPOINTS}.auto_mapper import AutoCheckpointMapper
""",
    f"{CHECKPOINTS}.hf.checkpoint_loader": f"""
from {CHECKPOINTS}.base_checkpoint_loader import BaseCheckpointLoader
from {MODELS}.modeling_utils import register_checkpoint_loader
""",
    f"{CHECKPOINTS}.hf.weight_mapper": f"""
from {CHECKPOINTS}.base_weight_mapper import BaseWeightMapper
from {MODELS}.modeling_utils import register_mapper
""",
    f"{CHECKPOINTS}.auto_mapper": f"from {MODELS}.modeling_utils import MODEL_CLASS_MAPPER_MAPPING\n",
    "tensorrt_llm.tools.importlib_utils": "import importlib\nimport sys\nfrom pathlib import Path\n",
    "tensorrt_llm._torch.attention_backend.interface": """
from enum import Enum, IntEnum
class PredefinedAttentionMask(str, Enum):
    CAUSAL = "causal"
    FULL = "full"
class AttentionInputType(IntEnum):
    mixed = 0
""",
    "tensorrt_llm._torch.attention_backend.trtllm": """
from typing import Generic, TypeVar
from tensorrt_llm._torch.attention_backend.interface import AttentionInputType, PredefinedAttentionMask
TMetadata = TypeVar("TMetadata")
class TrtllmAttentionMetadata: ...
class AttentionBackend(Generic[TMetadata]): ...
""",
    "tensorrt_llm._torch.attention.backends.interface": """
from enum import Enum
class PredefinedAttentionMask(str, Enum):
    CAUSAL = "causal"
    FULL = "full"
""",
    "tensorrt_llm._torch.attention.backends.fmha.interface": "from abc import ABC\nimport weakref\n",
    "tensorrt_llm._torch.attention.backends.fmha.registry": """
import os
from tensorrt_llm._torch.attention.backends.fmha.interface import Fmha
class FallbackFmha(Fmha): ...
def init_fmha_libs():
    return {"fallback": FallbackFmha}
""",
}

BODIES = {
    "register_auto_model": """
def decorator(cls):
    built_in = cls.__module__.startswith("tensorrt_llm.")
    if not (built_in and name in MODEL_CLASS_MAPPING):
        MODEL_CLASS_MAPPING[name] = cls
    return cls
return decorator
""",
    "register_mapper": """
def decorator(cls):
    MODEL_CLASS_MAPPER_MAPPING[format if name is None else f"{name}_{format}"] = cls
    return cls
return decorator
""",
    "register_checkpoint_loader": """
def decorator(cls):
    CHECKPOINT_LOADER_FORMAT_DEFAULT_MAPPING[name] = cls
    return cls
return decorator
""",
    "PostInitCaller.__call__": "made = type.__call__(cls, *args, **kwargs)\nmade.__post_init__()\nreturn made",
    "DecoderModelForCausalLM.__init__": """
super().__init__()
self.model, self.model_config, self.order = model, config, ["init"]
""",
    "DecoderModelForCausalLM.__post_init__": """
for module in list(self.modules()):
    if callable(getattr(module, "create_weights", None)):
        module.create_weights()
self.order.append("create_weights")
""",
    "export_external_model_modules": """
modules = {arch: cls.__module__ for arch, cls in MODEL_CLASS_MAPPING.items()}
return {arch: module for arch, module in modules.items() if not module.startswith("tensorrt_llm.")}
""",
    "register_external_model_modules": "_external.update(arch_to_module)",
    "get_registered_model_class": """
if model_arch not in MODEL_CLASS_MAPPING:
    from tensorrt_llm._torch.models._arch_index import MODEL_ARCH_TO_MODULE
    module = _external.get(model_arch) or f"tensorrt_llm._torch.models.{MODEL_ARCH_TO_MODULE.get(model_arch)}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
return MODEL_CLASS_MAPPING.get(model_arch)
""",
    "import_custom_module_from_dir": """
path = Path(custom_module_path)
if str(path.parent) not in sys.path:
    sys.path.insert(0, str(path.parent))
return importlib.import_module(path.name)
""",
    "trtllm::flashinfer_rmsnorm": """
wide = input.double()
return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps) * weight).to(input.dtype)
""",
    "trtllm::flashinfer_fused_add_rmsnorm": """
residual.add_(input)
wide = residual.double()
input.copy_((wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps) * weight).to(input.dtype))
""",
    "trtllm::flashinfer_silu_and_mul": """
gate, up = x.double().chunk(2, dim=-1)
return (torch.nn.functional.silu(gate) * up).to(x.dtype)
""",
    "trtllm::flashinfer_gelu_tanh_and_mul": """
gate, up = x.double().chunk(2, dim=-1)
return (torch.nn.functional.gelu(gate, approximate="tanh") * up).to(x.dtype)
""",
    "RMSNorm.__init__": """
super().__init__()
self.weight, self.variance_epsilon = nn.Parameter(torch.ones(hidden_size, dtype=dtype)), eps
""",
    "RMSNorm.forward": """
if residual is None or residual is ...:
    return torch.ops.trtllm.flashinfer_rmsnorm(hidden_states, self.weight, self.variance_epsilon)
torch.ops.trtllm.flashinfer_fused_add_rmsnorm(hidden_states, residual, self.weight, self.variance_epsilon)
return hidden_states, residual
""",
    "UnquantizedLinearMethod.create_weights": """
module.weight = nn.Parameter(torch.zeros(out_features, in_features, dtype=dtype), requires_grad=False)
module.bias = nn.Parameter(torch.zeros(out_features, dtype=dtype), requires_grad=False) if bias else None
""",
    "UnquantizedLinearMethod.apply": "return torch.nn.functional.linear(input, module.weight, bias)",
    "LinearMethodBase.load_weights": """
module.weight.data.copy_(torch.cat([part["weight"] for part in weights]))
if "weight_scale_inv" in weights[0]:
    module.weight_scale.data.copy_(torch.cat([part["weight_scale_inv"] for part in weights]))
""",
    "FP8BlockScalesLinearMethod.apply": "raise RuntimeError('needs a card')",
    "get_quant_method": "return FP8BlockScalesLinearMethod() if quant_config == 'fp8' else UnquantizedLinearMethod()",
    "Linear.get_quant_method": "return get_quant_method(quant_config)",
    "Linear.create_weights": """
self.quant_method = self.get_quant_method(self.quant_config)
self.quant_method.create_weights(self, self.in_features, self.out_features, self.has_bias, self.dtype)
""",
    "Linear.apply_linear": "return self.quant_method.apply(self, input, bias)",
    "BaseCheckpointLoader.load_config": "return {'folder': checkpoint_dir, **kwargs}",
    "BaseCheckpointLoader.get_initialized_weight_mapper": """
return AutoCheckpointMapper.get(self._checkpoint_format, model)
""",
    "HfCheckpointLoader.__init__": "self._checkpoint_format = 'HF'",
    "AutoCheckpointMapper.get": """
mapper = MODEL_CLASS_MAPPER_MAPPING.get(f"{name}_{format}") or MODEL_CLASS_MAPPER_MAPPING[format]
return mapper()
""",
    "BaseWeightMapper.filter_weights": """
return {name[len(prefix) + 1 :]: weight for name, weight in weights.items() if name.startswith(f"{prefix}.")}
""",
    "TrtllmAttention.forward": "return 'stock'",
    "Fmha.__init__": "self.attn = attn",
    "Fmha.is_available": "return True",
    "Fmha.is_supported": "return True",
    "get_enabled_fmha_lib_classes": """
wanted = [name.strip("+ ") for name in os.environ.get("TLLM_FMHA_LIBS", "").split(",") if name]
return [library for name, library in FMHA_LIBS.items() if name in (*wanted, "fallback")]
""",
}

MEMBERS = {
    "Linear": """
def __init__(self, in_features, out_features, bias=False, dtype=None, quant_config=None):
    super().__init__()
    self.in_features, self.out_features, self.has_bias = in_features, out_features, bias
    self.dtype, self.quant_config, self.bias = dtype, quant_config, None
def forward(self, input):
    return self.apply_linear(input, self.bias)
def load_weights(self, weights):
    self.quant_method.load_weights(self, weights, "vanilla")
    self.quant_method.post_load_weights(self)
""",
    "FP8BlockScalesLinearMethod": """
def create_weights(self, module, in_features, out_features, bias, dtype):
    codes = torch.zeros(out_features, in_features, dtype=torch.float8_e4m3fn)
    module.weight = nn.Parameter(codes, requires_grad=False)
    scales = torch.ones(math.ceil(out_features / 128), math.ceil(in_features / 128))
    module.weight_scale = nn.Parameter(scales, requires_grad=False)
    module.input_scale = nn.Parameter(torch.tensor(1.0), requires_grad=False)
    module.bias = None
""",
}

LLAMA = f"""
import torch
from torch import nn
from {LINEAR} import Linear
from tensorrt_llm._torch.modules.rms_norm import RMSNorm
from {MODELS}.modeling_utils import DecoderModelForCausalLM, register_auto_model
class Body(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.norm = RMSNorm(hidden_size=hidden, eps=1e-6, dtype=torch.float32)
        self.gate_up = Linear(hidden, 2 * hidden, dtype=torch.float32)
    def forward(self, x):
        normed, residual = self.norm(x.clone(), x.clone())
        return residual + torch.ops.trtllm.flashinfer_silu_and_mul(self.gate_up(self.norm(normed)))
@register_auto_model("LlamaForCausalLM")
class LlamaForCausalLM(DecoderModelForCausalLM):
    def __init__(self, config):
        super().__init__(Body(config["hidden"]), config=config, hidden_size=config["hidden"], vocab_size=8)
    def forward(self, x):
        return self.model(x)
"""

ENDS = {
    "tensorrt_llm._torch.custom_ops.flashinfer_custom_ops": """
flashinfer_rmsnorm.register_fake(lambda input, weight, eps: torch.empty_like(input))
flashinfer_silu_and_mul.register_fake(lambda x: torch.empty_like(x[..., : x.shape[-1] // 2]))
if "flashinfer_gelu_tanh_and_mul" in globals():
    flashinfer_gelu_tanh_and_mul.register_fake(lambda x: torch.empty_like(x[..., : x.shape[-1] // 2]))
"""
}
FILL = Fill(BODIES, TOPS, ENDS, {"PostInitCaller": "type", "RMSNorm": "nn.Module"}, MEMBERS)
OTHERS = {
    f"{PACKAGE}/_torch/models/modeling_llama.py": LLAMA,
    f"{PACKAGE}/_torch/custom_ops/__init__.py": "from . import flashinfer_custom_ops\n",
    f"{PACKAGE}/_utils.py": """
def mpi_rank():
    try:
        from mpi4py import MPI
    except ImportError:
        return 0
    return MPI.COMM_WORLD.Get_rank()
""",
}


def build(table: str, folder: Path, version: str | None = None) -> Path:
    """The host of one table below `folder`, with the metadata of an installed package."""
    contract = next(one for one in contracts() if one.table == table)
    version = version or VERSIONS[table]
    tree = {**tree_of(contract, version=version, fill=FILL), **OTHERS}
    write(tree, folder)
    if table == "1.2":  # all models are imported with their package; later they are looked up
        (folder / PACKAGE / "_torch/models/__init__.py").write_text("from . import modeling_llama\n")
    info = folder / f"{PACKAGE}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\n")
    return folder
