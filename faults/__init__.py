"""Injects real faults into a real sweep and compares what comes out with an undisturbed one: ``python -m faults``."""
