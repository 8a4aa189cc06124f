"""Correlate impact, transfer and distance over a study and write its report: ``python analyze.py --help``."""

from xling.analyze import main

if __name__ == "__main__":
    main()
