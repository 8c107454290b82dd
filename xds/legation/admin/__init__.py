"""The messages of our own gRPC API, generated from `protos/` (`make protos`)."""
