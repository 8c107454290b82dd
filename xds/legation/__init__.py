"""Legation: Istio-style YAML files in, Envoy xDS out.

    ingest ─▶ model ─▶ render ─▶ snapshot ─▶ stream ─▶ transport

The folders are the stages, and their alphabetical order is the order of the flow. `pipeline.py` runs the pure ones once;
`app.py` keeps them running. "Render" is what Istio calls translation.
"""
