"""What players minimise, one module a family; ``l`` is a discriminator's logit, ``sp`` the softplus."""
