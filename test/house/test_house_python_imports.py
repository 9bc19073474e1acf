"""No circle of imports in the Python that ships: modules of the package, of ipc and of the adapters."""

from __future__ import annotations

import ast
from pathlib import Path

from house.rules import ROOT, files

#: Where the checkout keeps what the package has under which name.
PLACES = {
    "native/python/opswap": "opswap",
    "ipc": "opswap.ipc",
    "adapters": "opswap.adapters",
    "native/card/evidence": "opswap.evidence",
}
EXTENSION = "opswap._opswap"  # the native module, which imports none of ours
Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module by its full name."""
    found = {}
    for folder, package in PLACES.items():
        for path in files(f"{folder}/*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            names = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *names))] = path
    return found


def imports(name: str, path: Path, known: set[str], source: str | None = None) -> set[str]:
    """Modules that a module imports anywhere in it, but for its types alone; parents come along unasked."""
    tree = ast.parse(path.read_text("utf-8") if source is None else source)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in _run_time(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            whole = {f"{module}.{alias.name}" for alias in node.names}
            found |= whole & known | ({module} if whole - known - {EXTENSION} else set())
    return (found & known) - {name}


def _run_time(tree: ast.AST) -> list[ast.AST]:
    nodes: list[ast.AST] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        types_alone = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        waiting += [] if types_alone else list(ast.iter_child_nodes(node))
    return nodes


def circle(graph: Graph) -> list[str]:
    """One circle, from a module back to itself; empty when there is none."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph[module]):
            if found := walk(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := walk(module, []))), [])


def test_no_module_imports_itself_through_others() -> None:
    found = modules()
    graph = {name: imports(name, path, set(found)) for name, path in found.items()}
    assert {"opswap", "opswap.ipc.agent", "opswap.adapters.vllm.plugin"} <= set(graph)
    assert "opswap.ipc.coordinator" in graph["opswap.ipc.agent"]
    assert circle(graph) == []


def test_a_circle_is_found_and_types_are_no_import() -> None:
    known = {"p", "p.a", "p.b"}
    here = Path("a.py")
    assert imports("p.a", here, known, "def f():\n    from . import b") == {"p.b"}
    assert imports("p.a", here, known, "from p import manifest, b") == {"p", "p.b"}
    assert imports("p.a", here, known, "if TYPE_CHECKING:\n    import p.b") == set()
    assert circle({"p": {"p.a"}, "p.a": {"p.b"}, "p.b": {"p.a"}}) == ["p.a", "p.b", "p.a"]
