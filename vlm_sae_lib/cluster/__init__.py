"""The library's stages on more than one machine, by Ray: the only room that knows it.

Nothing here computes. Each module cuts a stage into parts, hands them to Ray's workers, and puts together what they
return, so that the result is the local one. All machines see the same folders under the same paths.
"""
