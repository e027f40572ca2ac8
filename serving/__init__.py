"""The service: a seed comes in, latents are drawn, the generator runs, bytes go out."""
