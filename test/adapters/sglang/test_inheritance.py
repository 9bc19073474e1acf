"""Subclasses inherit SGLang's PLUGIN backend: each that is not listed resolves to the forward it has without opswap."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest

#: What the adapter lists of SGLang 0.5.23. All others keep their own forward.
LISTED = {
    "DynamicNTKAlphaRotaryEmbedding",
    "DynamicNTKScalingRotaryEmbedding",
    "Gemma4RotaryEmbedding",
    "LinearScalingRotaryEmbedding",
    "Llama3RotaryEmbedding",
    "YaRNScalingRotaryEmbedding",
}


def resolved(cls: type) -> Any:
    """The function that an instance of `cls` would run."""
    import torch

    layer = cls.__new__(cls)
    torch.nn.Module.__init__(layer)
    layer._forward_method = None
    return layer._resolve_forward_method().__func__


@pytest.fixture(scope="module")
def every_subclass(engine) -> list[tuple[type, type]]:
    """(plugged class, subclass) of all that SGLang's models define; importing them all is what a server does."""
    import sglang.srt.models
    from opswap.adapters.sglang.layers.fused_op import PLUGGED, subclasses

    for module in pkgutil.iter_modules(sglang.srt.models.__path__, "sglang.srt.models."):
        try:
            importlib.import_module(module.name)
        except ImportError:  # some models need packages that are not here, as in a server
            continue
    return [(cls, below) for cls in PLUGGED for below in subclasses(cls)]


def test_what_is_not_listed_runs_what_it_runs_without_opswap(every_subclass, monkeypatch):
    from sglang.kernels.spec import KernelBackend

    names = {below.__name__ for _, below in every_subclass}
    assert names > LISTED | {"MRotaryEmbedding", "DeepseekScalingRotaryEmbedding", "Gemma3nRMSNorm"}
    ours = {below: resolved(below) for _, below in every_subclass}
    for cls in {cls for cls, _ in every_subclass}:
        monkeypatch.delattr(cls, "forward_plugin")
    stock = {below: resolved(below) for _, below in every_subclass}
    changed = {below.__name__ for below in ours if ours[below] is not stock[below]}
    assert changed == LISTED
    own = {below for _, below in every_subclass if below.__name__ not in LISTED}
    assert {below.__name__ for below in own if KernelBackend.PLUGIN in below.capabilities} == set()


def test_the_classes_themselves_run_the_op(engine):
    from opswap.adapters.sglang.layers.fused_op import PLUGGED

    assert {cls.__name__ for cls in PLUGGED} == {"RMSNorm", "SiluAndMul", "GeluAndMul", "RotaryEmbedding"}
    assert {resolved(cls).__name__ for cls in PLUGGED} == {"forward_plugin"}


def test_a_class_that_is_defined_later_keeps_its_own(engine):
    from sglang.srt.layers.layernorm import RMSNorm

    class Later(RMSNorm):
        def forward_native(self, x: Any, *_others: Any) -> Any:
            return x

    class Inheriting(Later):
        pass

    assert resolved(Later) is resolved(Inheriting) is Later.forward_native


def test_a_listed_class_with_a_forward_of_its_own_is_refused(engine, monkeypatch):
    from opswap.adapters.common.probe import AdapterRefused
    from opswap.adapters.sglang.layers import fused_op
    from sglang.srt.layers.rotary_embedding.base import RotaryEmbedding

    listed = {*fused_op.PLUGGED[RotaryEmbedding], "later.Turning"}
    monkeypatch.setitem(fused_op.PLUGGED, RotaryEmbedding, frozenset(listed))
    body = {"__module__": "sglang.later", "forward_cuda": lambda self: None}
    with pytest.raises(AdapterRefused, match=r"Turning has forward_cuda of its own.*pip install sglang==0\.5\.23"):
        type("Turning", (RotaryEmbedding,), body)


def test_every_layer_of_a_model_is_counted(engine):
    from opswap.adapters.sglang.report import of_model

    assert of_model(0, engine.runner.model)["layers"] == {
        "RMSNorm": {"op": 5},
        "RotaryEmbedding": {"op": 1},
        "SiluAndMul": {"op": 2},
    }
