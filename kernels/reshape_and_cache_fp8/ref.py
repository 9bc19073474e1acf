"""Each token's key and value as FP8 codes into its slot of the paged cache, in numpy; and inputs that try it."""

from common import ref_fill, ref_fp8_cache


def ref(**args):
    return ref_fp8_cache.stored(args, args["slot_mapping"], key=args["key"], value=args["value"])


def inputs(case, rng, make):
    """Distinct slots, as an engine gives them, and every third token skipped."""
    args = ref_fill.fill(case, make(), "key", "value")
    slots = args["slot_mapping"]
    slots[:] = rng.permutation(case["NB"] * case["BS"])[: len(slots)]
    slots[2::3] = -1
    return ref_fp8_cache.positive(case, args)
