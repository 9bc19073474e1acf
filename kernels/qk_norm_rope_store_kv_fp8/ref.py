"""Norm and rotation of query and key heads, queries as FP8 codes, and the store of keys and values as FP8, in numpy."""

from common import ref_fill, ref_fp8_cache, ref_qk_norm_rope


def ref(**args):
    query, key = ref_qk_norm_rope.heads(args)
    codes, scale = ref_fp8_cache.codes(query)
    stored = ref_fp8_cache.stored(args, args["slot_mapping"], key=key, value=args["value"])
    return {"query_out": codes, "q_scale": scale, **stored}


def inputs(case, rng, make):
    """Distinct slots, as an engine gives them, and every third token skipped."""
    args = make()
    slots = args["slot_mapping"]
    slots[:] = rng.permutation(case["NB"] * case["BS"])[: len(slots)]
    slots[2::3] = -1
    ref_fill.fill(case, args, "value")
    return ref_fp8_cache.positive(case, ref_qk_norm_rope.prepare(case, args))
