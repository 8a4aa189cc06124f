"""One run in a process of its own: ``train_worker.py CONFIG.json GO``, which begins as soon as the file GO is there."""

import json
import sys
import time
from pathlib import Path

from xling.commands.train import train
from xling.machine.logs import configure_logging
from xling.settings import RunSettings

if __name__ == "__main__":
    configure_logging()
    config, go = (Path(argument) for argument in sys.argv[1:])
    print("ready", flush=True)
    while not go.exists():
        time.sleep(0.01)
    train(RunSettings.from_plain(json.loads(config.read_text())))
