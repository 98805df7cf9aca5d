"""What a score is held against: neurons that were only rectified, codes that mean nothing, SAEs that never learned."""
