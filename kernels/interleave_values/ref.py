"""Pages of values with the keys of a feature side by side, and back, in numpy."""

from common.ref import interleaved, uninterleaved


def ref(out, input, inverse):
    return {"out": uninterleaved(input) if inverse else interleaved(input)}
