"""The scoreboard: published figures next to ours, every one of ours with the run that made it."""
