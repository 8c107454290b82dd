"""Stage 2, what the configuration means: frozen values in Istio's words. No protobuf, no Envoy, no I/O."""
