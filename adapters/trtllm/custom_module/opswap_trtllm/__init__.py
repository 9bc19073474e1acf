"""The folder for `--custom_module_dirs`: TensorRT-LLM imports it by its path, and opswap becomes active.

It stands alone in its parent folder, which TensorRT-LLM puts first on Python's path.
"""

from __future__ import annotations

import sys

try:
    import opswap.adapters.trtllm.zoo  # noqa: F401
except Exception as error:  # nothing may leave this import; the report says what is wrong
    sys.stderr.write(f"opswap: not active: {type(error).__name__}: {error}\n  install opswap's wheel in this Python\n")
