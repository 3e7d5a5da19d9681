"""Out of memory: one line that names the knobs to turn, instead of an allocator's traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from filters.errors import BadInput
from training.config import Config

#: What torch's CPU allocator says in a plain RuntimeError.
_CPU_WORDS = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory")


@contextmanager
def memory_errors(stage: str, doing: str, config: Config) -> Iterator[None]:
    """Turn an allocator's error inside the block into `BadInput`; `doing` says where that is, as "in step 8"."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise BadInput(_advice("the GPU", stage, doing, config)) from error
    except MemoryError as error:
        raise BadInput(_advice("this machine", stage, doing, config)) from error
    except RuntimeError as error:
        if any(words in str(error) for words in _CPU_WORDS):
            raise BadInput(_advice("this machine", stage, doing, config)) from error
        raise


def _advice(where: str, stage: str, doing: str, config: Config) -> str:
    batch, accumulate = config.data.batch, config.loop.accumulate
    knobs = [f"halve data.batch (now {batch}) and double loop.accumulate (now {accumulate}), which trains the same"]
    if stage == "denoiser" and not config.denoiser.checkpointing:
        knobs.append("set denoiser.checkpointing true")
    if config.loop.precision == "fp32" and where == "the GPU":
        knobs.append("set loop.precision bf16")
    knobs.append(f"or lower data.buckets.resolution (now {config.data.buckets.resolution})")
    words = f"{stage}: {where} ran out of memory {doing}: {'; '.join(knobs)}"
    return f"{words}. Changed, it is another configuration, which wants another --out"
