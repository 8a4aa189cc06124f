"""An extension of xling from a package of its own: CONTRIBUTING.md explains each file."""
