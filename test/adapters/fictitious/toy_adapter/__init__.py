"""opswap inside the toy engine."""
