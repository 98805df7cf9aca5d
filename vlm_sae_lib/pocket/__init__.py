"""The pocket world: an island's living things, painted, named and described, whose truth is known."""
