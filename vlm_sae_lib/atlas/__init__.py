"""The neuron atlas: a page over every latent of an autoencoder, from data in small JSON files (``schema.json``)."""
