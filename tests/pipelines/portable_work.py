"""Work for portable workers, in a module that they can import."""

import os
import time
from pathlib import Path

from filters.errors import BadInput
from pipelines.progress import Meter
from pipelines.run.storage import Store


class Work:
    """Each part leaves a file with its process and counts three samples; part 1 fails where `bad`."""

    def __init__(self, folder: Path, bad: bool = False, seconds: float = 0.0) -> None:
        self.folder, self.bad, self.seconds = folder, bad, seconds

    def load(self):
        """Nothing to load."""

    def run(self, index):
        if self.bad and index == 1:
            raise BadInput("part 1: the file is broken; get it again – «ü»")
        meter = Meter(Store(str(self.folder)), "test", index)
        meter.count(2)
        meter.count(1, failure="UNDECODABLE")
        (self.folder / str(index)).write_text(str(os.getpid()))
        time.sleep(self.seconds)


class Hungry(Work):
    """The same, with a model that a GPU runs faster."""

    def wants_accelerator(self):
        return True
