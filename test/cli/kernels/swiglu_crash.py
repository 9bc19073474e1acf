"""A kernel of `silu_and_mul` that ends its process, as an illegal access would."""

import os
import signal


def silu_and_mul(out, input):
    os.kill(os.getpid(), signal.SIGSEGV)
