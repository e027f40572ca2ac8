"""The scoreboard: published figures beside ours, every one of ours with the run that made it."""
