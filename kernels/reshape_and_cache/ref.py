"""Each token's key and value into its slot of the paged cache, in numpy; and inputs that try it."""


def ref(key, value, key_cache, value_cache, slot_mapping):
    keys, values, block_size = key_cache.copy(), value_cache.copy(), key_cache.shape[2]
    for t, slot in enumerate(slot_mapping):
        if slot >= 0:
            keys[slot // block_size, :, slot % block_size] = key[t]
            values[slot // block_size, :, slot % block_size] = value[t]
    return {"key_cache": keys, "value_cache": values}


def inputs(case, rng, make):
    """Distinct slots, as an engine gives them, and every third token skipped."""
    arrays = make()
    slots = arrays["slot_mapping"]
    slots[:] = rng.permutation(case["NB"] * case["BS"])[: len(slots)]
    slots[2::3] = -1
    return arrays
