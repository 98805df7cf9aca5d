"""The SAE files of other libraries, a module for each."""
