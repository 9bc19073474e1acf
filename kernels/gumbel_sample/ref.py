"""One token of each row, drawn by Gumbel noise that its seed gives, in numpy; and inputs that try it."""

import numpy as np
from common import ref_argmax

M0, M1, W0, W1, LOW, HALF = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85, np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(counter, seed):
    """Philox4x32-10 words [n, 4] for counters (counter, 0, 0, 0) and a 64-bit key."""
    c = [counter.astype(np.uint64), *(np.zeros(len(counter), np.uint64) for _ in range(3))]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(M0), c[2] * np.uint64(M1)
        c = [(p1 >> HALF) ^ c[1] ^ np.uint64(k0), p1 & LOW, (p0 >> HALF) ^ c[3] ^ np.uint64(k1), p0 & LOW]
        k0, k1 = k0 + W0 & 0xFFFFFFFF, k1 + W1 & 0xFFFFFFFF
    return np.stack(c, axis=-1)


def gumbel(seed, columns):
    """-log(-log u), u = (word / 2^9 + 0.5) / 2^23; column 64 b + 16 w + i uses word w of counter 16 b + i."""
    blocks = (columns + 63) // 64
    words = philox(np.arange(16 * blocks), int(seed) & 0xFFFFFFFFFFFFFFFF).reshape(blocks, 16, 4)
    u = ((words.transpose(0, 2, 1).reshape(-1)[:columns] >> np.uint64(9)).astype(np.float64) + 0.5) / 2**23
    return -np.log(-np.log(u))


def ref(token_ids, logits, seeds):
    noise = np.stack([gumbel(s, logits.shape[1]) for s in seeds]) if len(seeds) else np.zeros(logits.shape)
    return {"token_ids": ref_argmax.argmax(logits.astype(np.float64) + noise)}


def inputs(case, rng, make):
    """Random rows and 64-bit seeds; with `infinite` all but three columns are masked."""
    arrays = make()
    arrays["seeds"][:] = rng.integers(-(2**63), 2**63, size=arrays["seeds"].shape)
    if case.get("infinite"):
        arrays["logits"][:, [i for i in range(50) if i not in (3, 21, 47)]] = -np.inf
    ref_argmax.fill(case, arrays["logits"])
    return arrays
