"""Norm and rotation of query and key heads, and the store of keys and values by slot, in numpy."""

from common import ref_qk_norm_rope


def ref(**args):
    return ref_qk_norm_rope.run(args, args["slot_mapping"])


def inputs(case, rng, make):
    """Distinct slots, as an engine gives them, and every third token skipped."""
    args = make()
    slots = args["slot_mapping"]
    slots[:] = rng.permutation(case["NB"] * case["BS"])[: len(slots)]
    slots[2::3] = -1
    return ref_qk_norm_rope.prepare(case, args)
