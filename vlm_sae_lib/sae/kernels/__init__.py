"""The quick ways: active pairs, their products, the encoder's product in eight bits. Each has a slow definition."""
