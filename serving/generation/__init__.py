"""From a query to the bytes of an answer."""
