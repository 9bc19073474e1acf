"""What engines build, read from their own model files by their syntax trees; nothing of them is imported or run.

`npm run loaders -- --rules sglang=WHEEL` writes ts-client/src/convert/readers/rules.json: which layers an engine fuses
into one matrix, and which it builds without a quant_config, for each architecture.
"""

import ast
import json
import sys
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

LINEAR = {
    "ColumnParallelLinear",
    "MergedColumnParallelLinear",
    "MergedReplicatedLinear",
    "QKVCrossParallelLinear",
    "QKVParallelLinear",
    "ReplicatedLinear",
    "RowParallelLinear",
}
# Built in their own precision whatever the checkpoint says. vLLM's ParallelLMHead takes a quant_config, and makes no
# use of it for FP8 or INT4.
PLAIN = {
    "Linear",
    "GateLinear",
    "Embedding",
    "VocabParallelEmbedding",
    "ParallelLMHead",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Conv2dLayer",
    "Conv3dLayer",
}
RULES = Path(__file__).parents[2] / "ts-client/src/convert/readers/rules.json"
FUSED_DICT = "packed_modules_mapping"
EXPERT_NAMES = ("ckpt_gate_proj_name", "ckpt_up_proj_name")
# A fused layer, and the parts that a checkpoint has, in the order of their rows.
Group = tuple[str, ...]


@dataclass
class Layer:
    """An attribute of a class that is a matrix."""

    owner: str
    name: str
    plain: bool


@dataclass
class File:
    layers: list[Layer] = field(default_factory=list)
    fused: list[Group] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)
    parents: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Attributes that hold a class, by its name."""
    bases: dict[str, list[str]] = field(default_factory=dict)


def sources(root: Path):
    """Name and text of each model file of an installed package's folder or a wheel."""
    if root.suffix == ".whl":
        with zipfile.ZipFile(root) as wheel:
            for name in sorted(wheel.namelist()):
                path = PurePosixPath(name)
                if path.suffix == ".py" and "srt/models/" in name:
                    yield name.split("srt/models/", 1)[1], wheel.read(name).decode()
    else:
        for path in sorted(root.rglob("*.py")):
            yield path.relative_to(root).as_posix(), path.read_text()


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def is_plain(call: ast.Call) -> bool:
    """Whether a layer is built without a quant_config."""
    if called(call) in PLAIN:
        return True
    given = [one.value for one in call.keywords if one.arg == "quant_config"]
    given += [one for one in call.args if isinstance(one, ast.Name) and one.id == "quant_config"]
    spread = any(one.arg is None for one in call.keywords)
    return not spread and (not given or is_none(given[0]))


def strings(node: ast.expr) -> tuple[str, ...]:
    """A list or tuple of strings; () for anything else."""
    if not isinstance(node, ast.List | ast.Tuple):
        return ()
    found = tuple(one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str))
    return found if len(found) == len(node.elts) else ()


def is_mapping(target: ast.expr) -> bool:
    if isinstance(target, ast.Subscript):
        return is_mapping(target.value)
    return getattr(target, "attr", getattr(target, "id", "")).lower().endswith(FUSED_DICT)


def mapped(node: ast.Assign) -> list[Group]:
    """Groups that an assignment to packed_modules_mapping, or to an item of it, names."""
    if not any(is_mapping(target) for target in node.targets):
        return []
    if isinstance(node.targets[0], ast.Subscript):
        return [(text_of(node.targets[0].slice), *strings(node.value))]
    dicts = [one for one in ast.walk(node.value) if isinstance(one, ast.Dict)]
    return [
        (text_of(key), *strings(value)) for one in dicts for key, value in zip(one.keys, one.values, strict=True) if key
    ]


def stacked(node: ast.List) -> list[Group]:
    """Groups of a list of (fused, part, place), as load_weights has them; a place that comes again begins another."""
    groups: dict[str, list[dict]] = defaultdict(list)
    for one in node.elts:
        if not isinstance(one, ast.Tuple) or len(one.elts) != 3:
            return []
        into, part = (text_of(part) for part in one.elts[:2])
        if not into or not part:
            return []
        place, group = ast.dump(one.elts[2]), groups[into]
        if not group or place in group[-1]:
            group.append({})
        group[-1][place] = part
    return [(into, *one.values()) for into, several in groups.items() for one in several]


def experts(call: ast.Call) -> list[Group]:
    """Gate and up of experts, which every engine keeps in one matrix."""
    names = {one.arg: text_of(one.value) for one in call.keywords}
    return [("w13", *(names.get(name, "") for name in EXPERT_NAMES))]


def text_of(node: ast.expr) -> str:
    value = getattr(node, "value", None)
    return value if isinstance(value, str) else ""


def leaves(group: Group) -> Group:
    """A group by the parts' own names, where they lie side by side; () where they do not, or there is one alone."""
    into, *parts = (one.removesuffix(".weight").strip(".").rpartition(".") for one in group)
    beside = len({before for before, _, _ in parts}) == 1
    own = [leaf for _, _, leaf in parts]
    return (into[2], *own) if beside and all(own) and len(set(own)) == len(own) > 1 else ()


def read(text: str) -> File:
    file = File()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and (node.level or "models" in node.module):
            file.uses.add(node.module.rsplit("models.", 1)[-1].replace(".", "/"))
        elif isinstance(node, ast.ImportFrom) and node.level:
            file.uses.update(one.name for one in node.names)
        elif isinstance(node, ast.Assign):
            file.fused += mapped(node)
        elif isinstance(node, ast.List):
            file.fused += stacked(node)
        elif isinstance(node, ast.Call):
            file.fused += experts(node)
        elif isinstance(node, ast.ClassDef):
            read_class(node, file)
    file.fused = [leaves(group) for group in file.fused if leaves(group)]
    return file


def read_class(node: ast.ClassDef, file: File) -> None:
    file.bases[node.name] = [one.id for one in node.bases if isinstance(one, ast.Name)]
    for one in ast.walk(node):
        if not isinstance(one, ast.Assign) or not isinstance(one.targets[0], ast.Attribute):
            continue
        name = one.targets[0].attr
        for call in (call for call in ast.walk(one.value) if isinstance(call, ast.Call)):
            kind = called(call)
            if kind in LINEAR | PLAIN:
                file.layers.append(Layer(node.name, name, is_plain(call)))
            elif kind[:1].isupper():
                file.parents[kind].add(name)


def closure(start: str, files: dict[str, File]) -> list[str]:
    """A file and those of the models that it is made of."""
    found, open_ = [], [start]
    while open_:
        name = open_.pop()
        if name in found or name not in files:
            continue
        found.append(name)
        folder = PurePosixPath(name).parent
        for used in sorted(files[name].uses):
            for path in (f"{used}.py", f"{used}/__init__.py"):
                open_ += [path, (folder / path).as_posix()]
    return sorted(found)


def sorted_out(names: list[str], files: dict[str, File]) -> tuple[list[str], list[str]]:
    """Names of layers that are built plain, and of those that are quantised; PARENT.NAME where a name alone is both."""
    kinds: dict[str, dict[bool, set[str]]] = defaultdict(lambda: defaultdict(set))
    parents: dict[str, set[str]] = defaultdict(set)
    for file in (files[name] for name in names):
        for kind, attributes in file.parents.items():
            parents[kind] |= attributes
        for layer in file.layers:
            kinds[layer.name][layer.plain].add(layer.owner)
    plain, quantized = [], []
    for name, owners in kinds.items():
        if len(owners) == 1:
            (plain if True in owners else quantized).append(name)
            continue
        held = {kind: {one for owner in owners[kind] for one in parents[owner]} for kind in (True, False)}
        plain += [f"{parent}.{name}" for parent in held[True] - held[False]]
        quantized.append(name)
    return sorted(plain), sorted(quantized)


def general(files: dict[str, File]) -> tuple[list[str], list[str]]:
    """Names that more files build plain than quantised, for models that are not known; and all others."""
    counts: dict[str, dict[bool, set[str]]] = defaultdict(lambda: {True: set(), False: set()})
    for name, file in files.items():
        for layer in file.layers:
            counts[layer.name][layer.plain].add(name)
    plain = [name for name, found in counts.items() if len(found[True]) > len(found[False])]
    return sorted(plain), sorted(counts.keys() - set(plain))


def groups(names: list[str], files: dict[str, File]) -> list[list[str]]:
    """Fused groups, those of most files first."""
    count: dict[Group, int] = defaultdict(int)
    for name in names:
        for group in set(files[name].fused):
            count[group] += 1
    return [list(group) for group in sorted(count, key=lambda one: (-count[one], one))]


def architectures(root: Path, files: dict[str, File]) -> dict[str, str]:
    """The file of each architecture: vLLM's registry, or SGLang's EntryClass in the files themselves."""
    found = {}
    telling = [(name, text) for name, text in sources(root) if name == "registry.py" or "EntryClass" in text]
    for name, text in telling:
        for node in ast.walk(ast.parse(text)):
            if name == "registry.py" and isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    at = strings(value)
                    if isinstance(key, ast.Constant) and len(at) == 2:
                        found[key.value] = f"{at[0].replace('.', '/')}.py"
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EntryClass":
                entries = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
                found |= {one.id: name for one in entries if isinstance(one, ast.Name)}
    return {name: file for name, file in sorted(found.items()) if file in files}


def ancestors(files: dict[str, File], known: set[str]) -> dict[str, list[str]]:
    """Architectures that an architecture's class is made of."""
    bases = {name: found for file in files.values() for name, found in file.bases.items()}

    def above(name: str) -> set[str]:
        return set(bases.get(name, [])).union(*(above(one) for one in bases.get(name, []) if one != name))

    return {name: found for name in sorted(known) if (found := sorted(above(name) & known - {name}))}


def others(names: list[str], against: list[str]) -> list[str]:
    return sorted(set(names) - set(against))


def rules(root: Path, version: str) -> dict:
    """What all files say together, and of each architecture's files what they say besides."""
    files = {name: read(text) for name, text in sources(root)}
    plain, quantized = general(files)
    profiles: dict[str, dict] = {}
    by_architecture = {}
    for architecture, file in architectures(root, files).items():
        by_architecture[architecture] = file
        if file not in profiles:
            names = closure(file, files)
            built, coded = sorted_out(names, files)
            profiles[file] = {
                "fused": groups(names, files),
                "plain": others(built, plain),
                "quantized": others(coded, quantized),
            }
    return {
        "version": version,
        "fused": groups(list(files), files),
        "plain": plain,
        "architectures": by_architecture,
        "bases": ancestors(files, set(by_architecture)),
        "files": profiles,
    }


def main() -> None:
    """vLLM's are those of the installed one; SGLang's stay as they are without a wheel."""
    import vllm

    known = json.loads(RULES.read_text())
    known["vllm"] = rules(Path(vllm.__file__).parent / "model_executor" / "models", vllm.__version__)
    for one in sys.argv[1:]:
        wheel = Path(one.removeprefix("sglang="))
        known["sglang"] = rules(wheel, wheel.name.split("-")[1])
    RULES.write_text(json.dumps(known, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
