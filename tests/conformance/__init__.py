"""One test per check of the xDS conformance list, named by its number; each says in its own words what must be so.

The list is `checks.yaml`; `page.py` makes docs/conformance.md of it and of the names of the tests.
"""
