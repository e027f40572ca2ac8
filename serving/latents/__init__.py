"""From seeds to rows of latents."""
