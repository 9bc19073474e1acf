#!/usr/bin/env bash
# transformers: a checkpoint in FP8 with scales for blocks of 128 x 128, whose matrices have 192 rows or columns, so that the
# last block is a half one. config.json says weight_block_size [128, 128], and 192 take two scales.
# Expected: row 96 has the first scale, as in every reader that goes by weight_block_size.
# Seen: the block's size is taken to be 192 / 2 = 96, so rows 96 to 127 get the second block's scale, without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv python
python/bin/pip install --quiet --disable-pip-version-check transformers==5.20.2 torch==2.14.1 safetensors==0.8.0 accelerate==1.15.0 numpy==2.3.5
cat > ask.py <<'PY'
import json

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, FineGrainedFP8Config, LlamaConfig, LlamaForCausalLM

config = LlamaConfig(
    vocab_size=32, hidden_size=128, intermediate_size=192, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
)
plain = LlamaForCausalLM(config).state_dict()
tensors = {}
for name, value in plain.items():
    if not name.endswith("_proj.weight"):
        tensors[name] = value.to(torch.bfloat16)
        continue
    grid = [-(-side // 128) for side in value.shape]
    tensors[name] = torch.ones(value.shape).to(torch.float8_e4m3fn)
    # The scale of each block is one more than its number.
    tensors[f"{name}_scale_inv"] = torch.arange(1.0, grid[0] * grid[1] + 1).reshape(grid)
save_file(tensors, "model.safetensors", metadata={"format": "pt"})
told = {**json.loads(config.to_json_string()), "architectures": ["LlamaForCausalLM"]}
told["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
with open("config.json", "w") as file:
    json.dump(told, file)

model = AutoModelForCausalLM.from_pretrained(
    ".", dtype=torch.float32, quantization_config=FineGrainedFP8Config(dequantize=True)
)
weight = model.model.layers[0].mlp.gate_proj.weight  # 192 x 128: of ones, so each element is its scale
for row in (0, 95, 96, 127, 128, 191):
    print(f"row {row}: {weight[row, 0].item():g}")
PY
python/bin/python ask.py 2> log | tee seen || { cat log; exit 1; }
printf '%s\n' "row 0: 1" "row 95: 1" "row 96: 2" "row 127: 2" "row 128: 2" "row 191: 2" > expected
diff expected seen && echo "as seen with transformers 5.20.2"
