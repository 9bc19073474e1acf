"""What paged_attention means, in numpy: attention of a batch of decode and prefill rows; and inputs that try it."""

from common.ref import inputs, paged

__all__ = ["inputs", "ref"]


def ref(max_query_len, **args):
    return paged(**args)
