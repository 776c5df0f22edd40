"""The engines, one module each: aiostore's way and the others' over the same kind of place."""
