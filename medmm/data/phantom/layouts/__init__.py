"""Phantom studies in the layouts of public collections, each a module with ``write(root, seed, numbers, size)``."""
