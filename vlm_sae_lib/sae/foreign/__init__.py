"""Sparse autoencoders of other libraries, one module per family; ``formats.py`` tells which one wrote a file."""
