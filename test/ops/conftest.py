"""Lets the tests of this folder import `rooms`, and rooms what they share in kernels/common."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "kernels")]
