"""Kernels that release the interpreter, run over slices of their arrays on every core."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

#: Fewer rows than this a slice, and handing them out costs more than it saves.
SMALLEST_SLICE = 4096
#: Slices a thread: rows differ in cost, and a thread that is done takes the next slice.
SLICES_PER_THREAD = 4


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="pricing")


# A forked child inherits the pool but none of its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


def run_sliced(
    kernel: Callable[..., None],
    count: int,
    *arguments: Any,
    smallest: int = SMALLEST_SLICE,
    largest: int | None = None,
) -> None:
    """Call ``kernel(start, stop, *arguments)`` over slices that cover ``range(count)``.

    Args:
        kernel: writes rows ``start`` to ``stop`` of its output arrays and nothing else, and
            releases the interpreter lock.
        count: rows in all.
        arguments: handed to every call as they are.
        smallest: fewest rows worth a thread; expensive kernels give a smaller figure.
        largest: most rows a slice, about.
    """
    threads = os.cpu_count() or 1
    slices = min(threads * SLICES_PER_THREAD, count // smallest) if threads > 1 else 1
    if largest is not None:
        slices = max(slices, count // largest)
    if slices < 2:
        kernel(0, count, *arguments)
        return
    edges = pairwise(count * n // slices for n in range(slices + 1))
    waiting = [_pool().submit(kernel, start, stop, *arguments) for start, stop in edges]
    for slice_done in waiting:
        slice_done.result()
