"""One file per seam; `install(context)` puts it in."""
