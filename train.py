"""Fine-tune on one source language and measure every target: ``python train.py --help``."""

from xling.commands.start import train

if __name__ == "__main__":
    train()
