"""Attention of the new tokens of each sequence over keys in a cache or one after the other, in numpy."""

from common.ref import inputs, paged

__all__ = ["inputs", "ref"]


def ref(**args):
    return paged(**args)
