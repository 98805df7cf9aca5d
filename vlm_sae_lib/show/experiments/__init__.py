"""The experiments' figures, drawn from their published results when the book is built; a module for each."""
