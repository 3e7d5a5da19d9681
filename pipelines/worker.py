"""One worker process of a local job, forked by `pipelines.workers`.

Ends by itself when the job that started it is gone, so that no killed job leaves workers that write on.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

from filters import environment
from pipelines.part_report import printed


def work_for(control: str, worker: str, cores: int, words: str, log_parts: bool = False) -> None:
    """Do what the runner at the address `control` asks for until it closes the line.

    `cores` are this worker's; what it prints on standard error goes to the file `words`, but for the lines of
    finished parts, where these are wanted.
    """
    told = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
    with open(words, "ab", buffering=0) as stream:
        os.dup2(stream.fileno(), sys.stderr.fileno())
    faulthandler.enable()
    # before the work imports the libraries that read them
    for name in (environment.CORES, "OMP_NUM_THREADS"):
        os.environ[name] = str(cores)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the job decides what an interrupt ends
    threading.Thread(target=_end_with_the_job, daemon=True).start()
    with printed(log_parts, told):
        _HARNESS(control, worker_id=worker).run()


def _harness() -> Any:
    """Import Beam's worker without its remarks about optional libraries."""
    logging.disable(logging.WARNING)
    try:
        from apache_beam.runners.worker.sdk_worker import SdkHarness
    finally:
        logging.disable(logging.NOTSET)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    return SdkHarness


#: Imported with this module, so that the server which workers are forked from does it once for all.
_HARNESS = _harness()


def _end_with_the_job() -> None:
    """Wait for the end of the process that asked for this one, and end.

    That is not the one which forked it: the server lives on for as long as one of those that it has forked.
    """
    job = multiprocessing.parent_process()
    if job is not None:
        job.join()
        os._exit(1)
