"""The package's reading of converted checkpoints; test_formats.py holds what is on disk against docs/layouts.md."""

from opswap.dequantise import dequantised, tensors_of

__all__ = ["dequantised", "tensors_of"]
