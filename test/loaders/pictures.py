"""A stand-in for torchvision, which the engine's environment lacks and some model files import."""

import importlib.machinery
import types
from unittest.mock import MagicMock

import transformers

NAMES = ("torchvision", "torchvision.transforms", "torchvision.transforms.v2")


def modules() -> dict[str, types.ModuleType]:
    """What sys.modules lacks. transformers has to go on knowing that there is none, and asks once."""
    transformers.utils.is_torchvision_available()
    found = {name: types.ModuleType(name) for name in NAMES}
    for name, module in found.items():
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__getattr__ = lambda _: MagicMock()
    return found
