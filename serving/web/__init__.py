"""The page at ``/`` and its static files."""
