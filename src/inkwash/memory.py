"""The C library's allocator, asked to keep what is freed.

Training on a CPU allocates and frees the same large arrays at every step. By default glibc hands arrays above 32 MiB
back to the system at once, and the next one is made of fresh pages, each of which the kernel zeroes at its first touch.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let freed memory serve the next allocation of this process, for as long as the process lives.

    The process then holds on to the most memory it ever used.

    Returns:
        Whether the C library could be asked to; only glibc can.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
