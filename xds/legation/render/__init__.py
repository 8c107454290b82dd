"""Stage 3, (World, Scope) to Envoy resources, by units that are run again only when something that they read has changed."""
