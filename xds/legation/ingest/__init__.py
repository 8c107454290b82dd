"""Stage 1, text in, typed documents out: files, watching, YAML with positions, strict decoding."""
