"""Correlate impact, transfer and distance over a study and write its report: ``python analyze.py --help``."""

from xling.commands.start import analyze

if __name__ == "__main__":
    analyze()
