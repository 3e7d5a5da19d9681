"""Breaks what `ASSAY_TEST_HARM` names in a process that tests start, before anything else of it runs.

Python itself imports a module of this name from its path. Nothing in Assay knows of it.
"""

import os

HARM = os.environ.get("ASSAY_TEST_HARM", "")


def _evil(data):
    """Tell whether a GIF asks for harm; its comment says so."""
    return b"assay-test-" + HARM.encode() in data


def _break_gif_decoder():
    import ctypes

    from PIL import GifImagePlugin

    whole = GifImagePlugin.GifImageFile.load

    def load(self):
        if self.fp is not None:
            place = self.fp.tell()
            self.fp.seek(0)
            evil = _evil(self.fp.read())
            self.fp.seek(place)
            if evil and HARM == "segfault":
                ctypes.string_at(0)
            if evil and HARM == "endless":
                while True:
                    pass
        return whole(self)

    GifImagePlugin.GifImageFile.load = load


def _break_gif_header():
    import ctypes

    from PIL import GifImagePlugin

    whole = GifImagePlugin.GifImageFile._open

    def opened(self):
        place = self.fp.tell()
        if _evil(self.fp.read()):
            ctypes.string_at(0)
        self.fp.seek(place)
        whole(self)

    GifImagePlugin.GifImageFile._open = opened


def _shorten_waiting():
    import filters.decoding_apart as apart
    import filters.decoding_guard as guard

    guard.STALL_SECONDS = 4.0
    apart.Apart.__init__.__defaults__ = (2.0, 60.0)


def _jump_clock():
    import random
    import time

    real, draw = time.time, random.Random(7)
    time.time = lambda: real() + draw.choice((-1, 1)) * draw.uniform(0, 10**9)


if HARM == "segfault" or HARM == "endless":
    _shorten_waiting()
    _break_gif_decoder()
elif HARM == "header":
    _break_gif_header()
elif HARM == "clock":
    _jump_clock()
