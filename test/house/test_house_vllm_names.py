"""What lies in adapters/vllm is vLLM's: a function that uses no name of vLLM's belongs into adapters/common.

Names of vLLM's are what is imported from it, attributes of its objects, its variables of the environment, the tables
(UPPER CASE) and classes of the adapter that are made of such; methods of classes that extend its classes, or are mixed
into them, are its own. A constructor goes with its class.
"""

from __future__ import annotations

import ast
import re

from house.rules import ROOT, files

PACKAGE = "opswap.adapters.vllm"
#: Attributes by which the adapter reaches into objects that vLLM hands over, and the library of its operators.
ATTRIBUTES = {
    "_C",
    "api_server_count",
    "apply_block_scaled_mm",
    "collective_rpc",
    "compilation_config",
    "engine_core",
    "errored",
    "enabled_custom_ops",
    "forward_native",
    "fp8_linear",
    "model_config",
    "model_runner",
    "output_processor",
    "reset_prefix_cache",
    "static_forward_context",
    "vllm_config",
}
VARIABLE = re.compile(r"VLLM_[A-Z_]+")
#: Functions that use none and stay, with the reason.
EXCEPTIONS = {
    "agent.EndpointPlugin.attach_router": "vLLM's protocol of endpoint plugins asks for it",
    "agent.create": "the factory that vLLM's entry point names",
    "layers.cpu_shims.init_cpu_memory_env": "stands for an operator of vLLM's",
    "layers.cpu_shims.rotary_embedding": "has the arguments of an operator of vLLM's",
    "layers.cpu_shims.static_scaled_fp8_quant": "has the arguments of an operator of vLLM's",
    "layers.fp8_linear.check_parts": "guards against what vLLM 0.33 loads wrongly",
    "layers.fp8_linear.refusal": "what vLLM is to be told of a layer",
    "layers.fp8_linear.refusal_of_columns": "what vLLM is to be told of a layer",
    "layers.fp8_linear.refusal_of_dtype": "what vLLM is to be told of a layer",
}


def names_in(node: ast.AST) -> set[str]:
    """Names, attributes and whole strings below a node."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute):
            found.add(f".{part.attr}")
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            found |= {f".{part.value}"} if part.value in ATTRIBUTES else set(VARIABLE.findall(part.value))
    return found


def imported(tree: ast.AST) -> set[str]:
    """Names that stand for something of vLLM's, or of the adapter's tables and modules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.asname or a.name.partition(".")[0] for a in node.names if a.name.partition(".")[0] == "vllm"}
        elif isinstance(node, ast.ImportFrom) and node.module:
            root = node.module.partition(".")[0]
            own = node.module == PACKAGE or node.module.startswith(f"{PACKAGE}.")
            found |= {a.asname or a.name for a in node.names if root == "vllm" or own}
    return found


def functions(tree: ast.Module) -> dict[str, tuple[ast.AST, str]]:
    """Functions and methods by qualified name, with the name of their class."""
    found: dict[str, tuple[ast.AST, str]] = {}
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in tree.body:
        if isinstance(node, kinds):
            found[node.name] = node, ""
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{m.name}": (m, node.name) for m in node.body if isinstance(m, kinds)}
    return found


def strangers(source: str) -> list[str]:
    """Functions of a module of the adapter that use no name of vLLM's."""
    tree = ast.parse(source)
    known = imported(tree) | {f".{name}" for name in ATTRIBUTES}
    defined = functions(tree)
    while True:
        size = len(known)
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = names_in(node) - names_in(node.value) if node.value else set()
                tables = {name for name in targets if name.lstrip("_").isupper()}
                known |= tables if _is_vllms(node, known) else set()
            elif isinstance(node, ast.ClassDef) and any(_is_vllms(base, known) for base in node.bases):
                known.add(node.name)
        known |= {name for name, (node, owner) in defined.items() if not owner and _is_vllms(node, known)}
        if len(known) == size:
            break
    owners = {owner for node, owner in defined.values() if owner and _is_vllms(node, known)}
    extended = _extended(tree, known)
    return [
        name
        for name, (node, owner) in defined.items()
        if not (owner in extended or _is_vllms(node, known) or (name.endswith(".__init__") and owner in owners))
    ]


def _extended(tree: ast.Module, known: set[str]) -> set[str]:
    """Classes that extend vLLM's, and the mixins that they put before them."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    found = [node for node in classes if any(_is_vllms(base, known) for base in node.bases)]
    return {node.name for node in found} | {base.id for n in found for base in n.bases if isinstance(base, ast.Name)}


def _is_vllms(node: ast.AST, known: set[str]) -> bool:
    used = names_in(node)
    return bool(used & known) or any(VARIABLE.fullmatch(name) for name in used)


def test_every_function_of_the_adapter_uses_a_name_of_vllms() -> None:
    found: set[str] = set()
    for path in files("adapters/vllm/*.py"):
        module = ".".join(path.relative_to(ROOT / "adapters/vllm").with_suffix("").parts)
        found |= {f"{module}.{name}" for name in strangers(path.read_text("utf-8"))}
    assert found - set(EXCEPTIONS) == set()
    assert set(EXCEPTIONS) - found == set()


def test_a_function_without_such_a_name_is_found() -> None:
    text = """
from vllm.platforms import current_platform
from opswap.adapters.common.state import PluginState

TABLE = {1: current_platform}

def ours(): return PluginState()
def theirs(): return current_platform.is_cpu()
def by_table(): return TABLE[1]
def by_function(): return theirs()
def by_object(worker): return worker.vllm_config
def by_variable(): return os.environ.get("VLLM_PLUGINS")

class Layer(current_platform.Layer):
    def forward(self): return 1

class Other:
    def method(self): return 1
"""
    assert strangers(text) == ["ours", "Other.method"]
