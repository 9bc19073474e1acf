"""Run as a program: what `trtllm-serve MODEL --custom_module_dirs DIR` does until its workers have a model.

`serve.py TABLE DIR WORKERS` prints one JSON object: what the driver and each worker found. With WORKERS 0 the model is
built in this process. 1.2 hands the registered classes to the workers, later versions the names of their modules.
"""

from __future__ import annotations

import json
import os
import sys

ARCH = "LlamaForCausalLM"


def worker_main(table: str, handed: dict) -> dict:
    """In a worker: takes what the driver handed over, builds the model, runs a step, and tells what it sees."""
    import torch
    from tensorrt_llm._torch.models import modeling_utils as registry

    if table == "1.2":
        registry.MODEL_CLASS_MAPPING.update(**handed)
        cls = registry.MODEL_CLASS_MAPPING[ARCH]
    else:
        registry.register_external_model_modules(handed)
        cls = registry.get_registered_model_class(ARCH)
    told = {"pid": os.getpid(), "parent": os.getppid(), "class": cls.__name__, "module": cls.__module__}
    try:
        model = cls({"hidden": 64})
    except RuntimeError as error:
        return {**told, "refused": str(error)}
    out = model(torch.ones(3, 64))
    import opswap
    from opswap.adapters.trtllm.adapter import ADAPTER

    calls = {row["op"]: sum(impl["calls"] for impl in row["impls"]) for row in opswap.stats()["ops"]}
    return {
        **told,
        "order": model.order,
        "method": type(model.model.gate_up.quant_method).__name__,
        "sum": float(out.sum()),
        "calls": {op: count for op, count in calls.items() if count},
        "installed": sorted(ADAPTER.state.installed),
        "trouble": ADAPTER.state.trouble,
        "step": ADAPTER.context.step,
    }


def main(table: str, folder: str, workers: int) -> dict:
    from tensorrt_llm.tools.importlib_utils import import_custom_module_from_dir

    import_custom_module_from_dir(folder)
    from tensorrt_llm._torch.models import modeling_utils as registry

    handed = registry.MODEL_CLASS_MAPPING if table == "1.2" else registry.export_external_model_modules()
    told = {"pid": os.getpid(), "handed": {arch: str(value) for arch, value in handed.items()}}
    if workers == 0:
        return {**told, "workers": [worker_main(table, handed)]}
    import serve
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor(max_workers=workers, path=sys.path) as pool:
        futures = [pool.submit(serve.worker_main, table, handed) for _ in range(workers)]
        return {**told, "workers": [future.result() for future in futures]}


if __name__ == "__main__":
    found = main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print("FOUND " + json.dumps(found), flush=True)
