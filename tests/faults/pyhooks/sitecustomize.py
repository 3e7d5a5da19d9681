"""Breaks what `ASSAY_TEST_HARM` names in a process that tests start, before anything else of it runs.

Python itself imports a module of this name from its path. Nothing in Assay knows of it.
"""

import os

HARM = os.environ.get("ASSAY_TEST_HARM", "")
ASSAY = {"filters", "audit", "pipelines", "training", "dashboards", "__main__"}


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
    """Move each look at the time by up to 30 years, by whichever name Python gives it.

    Extensions are compiled against the size of `datetime.datetime`, so that Assay alone gets the one that jumps.
    """
    import builtins
    import datetime
    import random
    import time
    import types

    draw, real, moment = random.Random(7), time.time, datetime.datetime

    def jump():
        return draw.choice((-1, 1)) * draw.uniform(0, 10**9)

    class Kind(type):
        """Takes a moment that something else has made for one of this class."""

        def __instancecheck__(cls, found):
            return isinstance(found, moment)

        def __subclasscheck__(cls, found):
            return issubclass(found, moment)

    class Jumping(moment, metaclass=Kind):
        """`datetime.datetime` with a clock that jumps; the moments themselves are of the real class."""

        def __new__(cls, *numbers, **named):
            return moment(*numbers, **named)

        @classmethod
        def now(cls, tz=None):
            return moment.fromtimestamp(real() + jump(), tz)

        @classmethod
        def utcnow(cls):
            return moment.fromtimestamp(real() + jump(), datetime.timezone.utc).replace(tzinfo=None)

        today = now

    time.time = lambda: real() + jump()
    time.time_ns = lambda: int(time.time() * 10**9)
    jumpy, load = types.ModuleType("datetime"), builtins.__import__
    vars(jumpy).update(vars(datetime), datetime=Jumping)

    def loaded(name, globals=None, locals=None, fromlist=(), level=0):
        asking = (globals or {}).get("__name__", "").partition(".")[0]
        return jumpy if name == "datetime" and asking in ASSAY else load(name, globals, locals, fromlist, level)

    builtins.__import__ = loaded


if HARM == "segfault" or HARM == "endless":
    _shorten_waiting()
    _break_gif_decoder()
elif HARM == "header":
    _break_gif_header()
elif HARM == "clock":
    _jump_clock()
