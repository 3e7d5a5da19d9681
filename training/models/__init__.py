"""The networks: autoencoder, denoiser, text encoder."""
