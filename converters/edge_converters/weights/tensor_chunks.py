"""Tensors computed in pieces on all cores, and written in order: memory stays at a few pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from edge.system.machine import physical_cores
from edge_converters.weights.checkpoint import import_torch

if TYPE_CHECKING:
    import torch

ChunkSource = Callable[[], "memoryview | bytes"]
"""Computes the bytes of a piece, in any thread."""


def compute_chunks(chunks: Iterable[ChunkSource]) -> Iterator[memoryview | bytes]:
    """The bytes of the pieces, in order, computed on all cores a little ahead of who takes them."""
    torch, workers = import_torch(), physical_cores()
    threads = torch.get_num_threads()
    # Torch's own threads would share out every small step and wait for one another; on a busy machine that takes ten
    # times as long as a thread to a piece.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            pending: deque[Future[memoryview | bytes]] = deque()
            for chunk in chunks:
                pending.append(pool.submit(chunk))
                if len(pending) > workers + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
    finally:
        torch.set_num_threads(threads)


def is_finite(block: torch.Tensor) -> bool:
    """Whether no number of a float16, bfloat16 or float32 tensor is infinite or undefined.

    Looks at the bits (all of the exponent's are ones), which takes a twentieth of the time of torch.isfinite.
    """
    torch = import_torch()
    if not block.numel():
        return True
    if block.dtype == torch.float64:
        return bool(torch.isfinite(block).all())
    bits = block.view(torch.int32 if block.dtype == torch.float32 else torch.int16)
    infinite = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80, torch.float32: 0x7F800000}[block.dtype]
    sign = torch.iinfo(bits.dtype).max
    return int((bits & sign).max()) < infinite


def bytes_of(block: torch.Tensor) -> memoryview:
    """The little-endian bytes of a tensor."""
    # bfloat16 has no counterpart in numpy, bytes have.
    return block.contiguous().flatten().view(import_torch().uint8).numpy().data
