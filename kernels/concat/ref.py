"""Two to four tensors one behind the other in the third dimension: in numpy; and inputs that try it."""

import numpy as np


def ref(out, first, second, third, fourth):
    return {"out": np.concatenate([t for t in (first, second, third, fourth) if t is not None], axis=2)}


def inputs(case, rng, make):
    """With `broadcast` the second tensor is one vector for all of the second dimension, through a stride of 0."""
    arrays = make()
    if case.get("broadcast"):
        arrays["second"] = np.broadcast_to(arrays["second"][:, :1], arrays["second"].shape)
    return arrays
