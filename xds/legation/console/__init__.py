"""Read-only views of what is served, and the small HTTP server that shows them."""
