"""Fine-tune on one source language and measure every target: ``python train.py --help``."""

from xling.train import main

if __name__ == "__main__":
    main()
