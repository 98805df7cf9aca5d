"""From notebooks to pages: run, normalised, checked, bound into editions, and opened alone on Colab.

Nothing is imported here: on Colab this room is entered before anything else is installed.
"""
