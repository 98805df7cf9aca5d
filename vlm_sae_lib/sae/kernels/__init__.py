"""The quick ways: active pairs, their products, the encoder's product in eight bits; each has its slow definition."""
