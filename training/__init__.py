"""Training on cleared data: loader, autoencoder, denoiser, loop, samplers."""
