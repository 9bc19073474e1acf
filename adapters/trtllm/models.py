"""Model classes that take over a model's layers when it is built, registered under the names of TensorRT-LLM's own.

A registered class is also what brings this package into the workers: 1.2 hands them the classes, later versions the
names of their modules, and both are found in zoo.py.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.trtllm.adapter import ADAPTER
from opswap.adapters.trtllm.probe import STOCK

VARIABLE = "OPSWAP_TRTLLM_MODELS"
DEFAULT = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "DeepseekV3ForCausalLM",
)
REGISTRY = "tensorrt_llm._torch.models.modeling_utils"
_hooks: list[Callable[[Any], None]] = []


def on_built(hook: Callable[[Any], None]) -> None:
    """Has `hook` called with each model when its layers and their weights have been made."""
    if hook not in _hooks:
        _hooks.append(hook)


def wanted() -> list[str]:
    """Architectures whose models are taken over: those of the variable, else the default ones."""
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    return named or list(DEFAULT)


def register(namespace: dict[str, Any]) -> list[str]:
    """Registers a class for each wanted architecture that this TensorRT-LLM has, as a global of the module `namespace`.

    Raises AdapterRefused when an architecture that the user named is not there.
    """
    registry = importlib.import_module(REGISTRY)
    found = []
    for arch in wanted():
        base = _stock_class(registry, arch)
        if base is None:
            if VARIABLE in os.environ:
                raise AdapterRefused(
                    f"opswap: {VARIABLE} names {arch}, which {ADAPTER.engine} does not have; take it out"
                )
            continue
        ours = _class_of(arch, base, namespace["__name__"])
        namespace[ours.__name__] = ours
        registry.register_auto_model(arch)(ours)
        found.append(arch)
    return found


def _stock_class(registry: Any, arch: str) -> type | None:
    """The class of an architecture; 1.2 has all once its models are imported, later versions have an index."""
    package = REGISTRY.rpartition(".")[0]
    importlib.import_module(package)
    if arch not in registry.MODEL_CLASS_MAPPING and (index := _module_or_none(f"{package}._arch_index")):
        # Not by get_registered_model_class: in a worker it would look for the class in this package, which is being
        # imported, and find none.
        _module_or_none(f"{package}.{index.MODEL_ARCH_TO_MODULE.get(arch)}")
    found: type | None = registry.MODEL_CLASS_MAPPING.get(arch)
    return found


def _module_or_none(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and something that it imports is not
            raise
        return None


def _class_of(arch: str, base: type, module: str) -> type:
    def __post_init__(self: Any) -> None:
        base.__post_init__(self)  # type: ignore[attr-defined]
        built(self)

    name = f"Opswap{arch}"
    body = {"__post_init__": __post_init__, "__module__": module, "__qualname__": name}
    return type(base)(name, (base,), body)


def built(model: Any) -> None:
    """Refuses a model that would be served without opswap though the user asked for it; else takes its layers over."""
    if ADAPTER.state.error:
        if os.environ.get(STOCK) == "1":
            return
        raise AdapterRefused(f"{ADAPTER.state.error}; {ADAPTER.probe.leave_out}")
    for hook in _hooks:
        hook(model)
