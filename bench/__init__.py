"""The benchmark: how long from a saved file to the first request that is answered differently, and what it costs.

`python -m bench` measures everything and prints a table; see `__main__.py`.
"""
