"""Evidence from the card of this machine: the installed kernels, checked against their references and timed.

`python -m opswap.evidence run` in an installation; in a checkout the GPU suite (test/gpu) uses the same modules.
"""
