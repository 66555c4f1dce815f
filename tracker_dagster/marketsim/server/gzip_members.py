"""Deterministic gzip of an exact, predictable size."""

from __future__ import annotations

import struct
import zlib

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"  # deflate, no name, mtime 0, unknown system
_TRAILER_LENGTH = 8
_FINAL_BLOCK = b"\x03\x00"
_STORED = b"\x00\x00\x00\xff\xff"  # an empty stored block, 5 bytes when byte-aligned
_FIXED_THEN_STORED = b"\x02\x00\x00\x00\xff\xff"  # an empty fixed block and a stored one, 6 bytes
_LEAST_PADDING = 20  # from here on every length is 5a + 6b


class SizeExceededError(ValueError):
    """The compressed content does not fit the announced size."""


def gzip_exact(content: bytes, size: int | None, level: int = 1) -> bytes:
    """``content`` as one gzip member of exactly ``size`` bytes (None: as small as it gets).

    A bucket listing must state sizes without generating a year of files. So each dataset has a
    fixed object size, and the gap is filled with empty deflate blocks: legal in any deflate
    stream, ignored by every reader, and unlike a header comment not refused by DuckDB's.

    Raises:
        SizeExceededError: the compressed content is longer than ``size``.
    """
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = compressor.compress(content) + compressor.flush(zlib.Z_SYNC_FLUSH)
    trailer = struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)
    padding = b""
    if size is not None:
        gap = size - (len(_HEADER) + len(body) + len(_FINAL_BLOCK) + _TRAILER_LENGTH)
        if gap < _LEAST_PADDING:
            raise SizeExceededError(f"{len(body)} bytes do not fit an object of {size}")
        sixes = gap % 5
        padding = _FIXED_THEN_STORED * sixes + _STORED * ((gap - 6 * sixes) // 5)
    return _HEADER + body + padding + _FINAL_BLOCK + trailer
