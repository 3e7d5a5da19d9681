"""A file system over a local folder whose calls and reads fail at random, as those of a busy object store do."""

import os
import random

from fsspec.implementations.local import LocalFileSystem


class Luck:
    """Decides for the whole process: `flaky:SHARE:SEED` in ASSAY_TEST_HARM; a share above 1 is a number of calls.

    After so many calls that all end well, the store is gone for good.
    """

    def __init__(self):
        _, share, seed = os.environ["ASSAY_TEST_HARM"].split(":")
        self.share, self.draw, self.calls = float(share), random.Random(int(seed)), 0

    def maybe(self, what):
        self.calls += 1
        if self.calls > self.share if self.share > 1 else self.draw.random() < self.share:
            raise OSError(f"SlowDown: please reduce your request rate ({what})")


class FlakyStream:
    """A file for reading whose connection breaks: before a read, or after some of it has come."""

    def __init__(self, stream, luck):
        self._stream, self._luck = stream, luck

    def read(self, size=-1):
        try:
            self._luck.maybe("read")
        except OSError:
            if self._luck.calls % 2:
                self._stream.read(1000)  # these bytes are lost
            raise
        return self._stream.read(size)

    def seek(self, *place):
        return self._stream.seek(*place)

    def tell(self):
        return self._stream.tell()

    def close(self):
        self._stream.close()


class FlakyStore(LocalFileSystem):
    """`flaky:///folder`: a share of calls fails, and of the reads of its files."""

    protocol = "flaky"
    cachable = False
    luck = None

    def __init__(self, **settings):
        super().__init__(**settings)
        FlakyStore.luck = FlakyStore.luck or Luck()
        # a file system of its own does the work, so that each call fails or not as one
        self._sound = LocalFileSystem()

    @classmethod
    def _strip_protocol(cls, path):
        return LocalFileSystem._strip_protocol(str(path).removeprefix("flaky://"))

    def unstrip_protocol(self, name):
        return f"flaky://{self._strip_protocol(name)}"

    def open(self, path, mode="rb", **settings):
        self.luck.maybe("open")
        stream = self._sound.open(path, mode, **settings)
        return FlakyStream(stream, self.luck) if mode == "rb" else stream

    def cat_file(self, path, start=None, end=None, **settings):
        self.luck.maybe("cat")
        return self._sound.cat_file(path, start=start, end=end, **settings)

    def ls(self, path, detail=False, **settings):
        self.luck.maybe("ls")
        return self._sound.ls(path, detail=detail, **settings)

    def info(self, path, **settings):
        self.luck.maybe("info")
        return self._sound.info(path, **settings)

    def exists(self, path, **settings):
        self.luck.maybe("exists")
        return self._sound.exists(path, **settings)

    def makedirs(self, path, exist_ok=False):
        self.luck.maybe("makedirs")
        self._sound.makedirs(path, exist_ok=exist_ok)

    def put_file(self, source, target, **settings):
        self.luck.maybe("put")
        return self._sound.put_file(source, target, **settings)

    def rm_file(self, path):
        self.luck.maybe("rm")
        return self._sound.rm_file(path)
