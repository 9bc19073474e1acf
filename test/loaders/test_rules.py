"""What `plan` knows of engines' layers is what the installed engine's own model files say."""

import importlib
import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from loaders import pictures, rules

KNOWN = json.loads(rules.RULES.read_text())["vllm"]
# Of the families of the loader matrix.
FAMILIES = [
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen2MoeForCausalLM",
    "Qwen3MoeForCausalLM",
    "Qwen3_5MoeForCausalLM",
    "MixtralForCausalLM",
    "Gemma3ForCausalLM",
    "Glm4MoeForCausalLM",
    "DeepseekV2ForCausalLM",
    "DeepseekV3ForCausalLM",
    "GptOssForCausalLM",
    "Llama4ForCausalLM",
]


def test_rules_are_those_of_the_installed_vllm():
    # Found, not imported: with all of vLLM in memory the collector takes longer than the reading.
    models = Path(importlib.util.find_spec("vllm").origin).parent / "model_executor" / "models"
    assert KNOWN["version"] == importlib.metadata.version("vllm")
    assert rules.rules(models, KNOWN["version"]) == KNOWN


@pytest.mark.parametrize("architecture", FAMILIES)
def test_fused_groups_are_those_that_the_class_states(architecture, monkeypatch):
    for name, module in pictures.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    registry = importlib.import_module("vllm.model_executor.models.registry")
    module, name = registry._VLLM_MODELS[architecture]
    model = getattr(importlib.import_module(f"vllm.model_executor.models.{module}"), name)
    stated = [parts for parts in getattr(model, "packed_modules_mapping", {}).values() if len(set(parts)) > 1]
    own = KNOWN["files"][KNOWN["architectures"][architecture]]["fused"]
    known = [parts for _, *parts in own]
    assert len(stated) > 0
    assert [parts for parts in stated if list(parts) not in known] == []


def test_layers_without_a_quant_config_are_told_from_others():
    text = """
class Gate(nn.Module):
    def __init__(self, quant_config):
        self.proj = GateLinear(8, 8)
        self.up = ColumnParallelLinear(8, 8, quant_config=quant_config)
        self.down = RowParallelLinear(8, 8, quant_config=None)
        self.side = ReplicatedLinear(8, 8)
class Block(nn.Module):
    packed_modules_mapping = {"qkv": ["q", "k", "v"], "o": ["o"]}
    def __init__(self, quant_config):
        self.router = Gate(quant_config)
        self.proj = ReplicatedLinear(8, 8, quant_config=quant_config)
    def load_weights(self):
        return [("gate_up", "gate", 0), ("gate_up", "up", 1), ("gate_up", "w1", 0), ("gate_up", "w3", 1)]
"""
    files = {"a.py": rules.read(text)}
    plain, quantized = rules.sorted_out(["a.py"], files)
    assert plain == ["down", "router.proj", "side"]
    assert quantized == ["proj", "up"]
    groups = [["gate_up", "gate", "up"], ["gate_up", "w1", "w3"], ["qkv", "q", "k", "v"]]
    assert rules.groups(["a.py"], files) == groups
