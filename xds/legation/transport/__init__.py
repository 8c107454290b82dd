"""Stage 6, gRPC: the discovery services, health, reflection, drain."""
