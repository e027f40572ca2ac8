"""The game: recipe, step, loop and their parts."""
