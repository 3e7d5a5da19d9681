"""A file system over a local folder whose calls fail at random, as those of a busy object store do."""

import os
import random

from fsspec.implementations.local import LocalFileSystem


class FlakyStore(LocalFileSystem):
    """`flaky:///folder`: a share of calls fails, `ASSAY_TEST_HARM=flaky:SHARE:SEED`."""

    protocol = "flaky"
    cachable = False

    def __init__(self, **settings):
        super().__init__(**settings)
        _, share, seed = os.environ["ASSAY_TEST_HARM"].split(":")
        self._share, self._draw = float(share), random.Random(int(seed))
        # a file system of its own does the work, so that each call fails or not as one
        self._sound = LocalFileSystem()

    @classmethod
    def _strip_protocol(cls, path):
        return LocalFileSystem._strip_protocol(str(path).removeprefix("flaky://"))

    def unstrip_protocol(self, name):
        return f"flaky://{self._strip_protocol(name)}"

    def _maybe(self, what):
        if self._draw.random() < self._share:
            raise OSError(f"SlowDown: please reduce your request rate ({what})")

    def open(self, path, mode="rb", **settings):
        self._maybe("open")
        return self._sound.open(path, mode, **settings)

    def ls(self, path, detail=False, **settings):
        self._maybe("ls")
        return self._sound.ls(path, detail=detail, **settings)

    def info(self, path, **settings):
        self._maybe("info")
        return self._sound.info(path, **settings)

    def exists(self, path, **settings):
        self._maybe("exists")
        return self._sound.exists(path, **settings)

    def makedirs(self, path, exist_ok=False):
        self._maybe("makedirs")
        self._sound.makedirs(path, exist_ok=exist_ok)

    def put_file(self, source, target, **settings):
        self._maybe("put")
        return self._sound.put_file(source, target, **settings)

    def rm_file(self, path):
        self._maybe("rm")
        return self._sound.rm_file(path)
