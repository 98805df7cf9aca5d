"""The machine: where a model runs and in how many bits, memory that is kept, loops that numba compiles."""
