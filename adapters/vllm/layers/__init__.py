"""One file per family of vLLM seams; each imports vLLM when it is imported, so only `seams.install` does that."""
