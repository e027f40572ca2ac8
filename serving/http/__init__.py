"""HTTP: uvicorn, the ASGI application, Flask routes and responses."""
