"""opswap inside TensorRT-LLM, PyTorch backend: overrides of its operators, layers of its models, a checkpoint format.

It was built against tables of what was read (contracts/): TensorRT-LLM cannot be installed where opswap is built.
Importing this package imports neither TensorRT-LLM nor torch.
"""
