"""The module that TensorRT-LLM's workers import: by doing so, opswap becomes active in them.

The registered model classes are its globals, so that pickle, which 1.2 hands classes over by, and the import of a
module by its name, which later versions use, both end here.
"""

from __future__ import annotations

from opswap.adapters.trtllm import plugin

plugin.load(globals())
