"""What copy means, in numpy: a copy between any strides; and inputs that try it."""

import numpy as np


def ref(out, input):
    return {"out": input.copy()}


def inputs(case, rng, make):
    """With `order` the first three dimensions of both sides lie in memory in other orders, unlike each other."""
    arrays, order = make(), case.get("order")
    if order:
        for name, axes in (("out", order), ("input", order[::-1])):
            back = np.argsort([*axes, 3])
            arrays[name] = np.ascontiguousarray(arrays[name].transpose([*axes, 3])).transpose(back)
    return arrays
