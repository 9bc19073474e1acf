#!/usr/bin/env bash
# SGLang: a plugin gives a layer's class a kernel by `forward_plugin` and `capabilities`, the PLUGIN backend of its fused ops.
# Expected: a subclass that computes something else by a forward of its own keeps it, as a method of a subclass comes first.
# Seen: the backend comes before the subclass's own forward, so MRotaryEmbedding, which turns parts of a head by time, height and
# width, runs the plain rotation that the plugin gave RotaryEmbedding, without a word.
set -euo pipefail
lock="$(cd "$(dirname "$0")/.." && pwd)/env/sglang.lock" # the pinned packages of SGLang 0.5.23 that a CPU needs, with hashes
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv python
python/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock"
cat > ask.py <<'PY'
import torch
import sglang.srt.layers.rotary_embedding.base as base

base._is_cpu = True  # without it the constructor imports kernels that a machine without a GPU does not have
from sglang.kernels.spec import KernelBackend
from sglang.srt.layers.rotary_embedding import MRotaryEmbedding, RotaryEmbedding

section = [8, 12, 12]
q = torch.ones(1, 64)
positions = torch.tensor([[5], [7], [11]])  # time, height, width: each turns its own part of the head


def turned():
    layer = MRotaryEmbedding(64, 64, 1024, 10000, True, torch.float32, mrope_section=section)
    return layer(positions, q.clone(), q.clone())[0]


calls = []


def forward_plugin(self, positions, query, key, *rest, **more):
    calls.append(type(self).__name__)
    return self.forward_native(positions[0] if positions.ndim == 2 else positions, query, key)


RotaryEmbedding.forward_plugin = forward_plugin
RotaryEmbedding.capabilities = {**RotaryEmbedding.capabilities, KernelBackend.PLUGIN: frozenset()}
turned()
print("has a forward of its own:", MRotaryEmbedding.forward_native is not RotaryEmbedding.forward_native)
print("ran the plugin of its base class:", calls)
PY
python/bin/python ask.py 2> log | tee seen || { cat log; exit 1; }
printf '%s\n' "has a forward of its own: True" "ran the plugin of its base class: ['MRotaryEmbedding']" > expected
diff expected seen && echo "as seen with SGLang 0.5.23"
