"""opswap inside SGLang: entry point and seams. Importing this package imports neither SGLang nor torch."""
