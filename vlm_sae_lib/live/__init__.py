"""The live model: the pocket LLaVA as ONNX graphs, and the page that runs them in the reader's browser."""
