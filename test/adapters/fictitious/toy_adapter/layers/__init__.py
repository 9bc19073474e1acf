"""One file per seam."""
