"""Programs and libraries that run a compiled model without Python: their C sources, linking."""
