"""Quarantine: a candidate makes recorded calls again in another process, and what it does wrong there bars it.

`python -m opswap.ipc.quarantine` is that process; the other modules are its parts and, in `supervisor`, `verdict` and
`keeper`, the engine's side, which imports neither numpy nor the candidate.
"""
