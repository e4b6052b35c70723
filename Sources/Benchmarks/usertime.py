# SPDX-License-Identifier: Apache-2.0
"""How long a process ran in user space, by sampling.

The kernel's own split of CPU time rests on its clock tick: some 250 samples a second, shown in
steps of 10 ms, too coarse for a hundred nanoseconds per packet. Here perf's CPU clock fires after
every 100 us that a thread has run; only firings in user space leave a record of fixed size, so the
ring's head tells their number and nothing has to be read in time.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
from pathlib import Path

SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241}  # perf_event_open
PERIOD_NANOSECONDS = 100_000
SOFTWARE, CPU_CLOCK = 1, 0
SAMPLE_TID = 1 << 1
EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 5, 1 << 6
CLOSE_ON_EXEC = 1 << 3
RECORD_BYTES = 16
HEAD_OFFSET = 1024
ATTRIBUTES = struct.Struct("<IIQQQQQIIQ")  # struct perf_event_attr, first version: 64 bytes

_libc = ctypes.CDLL(None, use_errno=True)


def _open(thread: int) -> int:
    attributes = ATTRIBUTES.pack(
        SOFTWARE,
        ATTRIBUTES.size,
        CPU_CLOCK,
        PERIOD_NANOSECONDS,
        SAMPLE_TID,
        0,
        EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR,
        0,
        0,
        0,
    )
    number = SYSTEM_CALLS[platform.machine()]
    words = [ctypes.c_long(value) for value in (thread, -1, -1, CLOSE_ON_EXEC)]
    handle = int(_libc.syscall(ctypes.c_long(number), attributes, *words))
    if handle < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"perf_event_open: {os.strerror(error)}")
    return handle


class UserClock:
    """Samples all threads that the process has now."""

    def __init__(self, pid: int) -> None:
        self._rings: list[mmap.mmap] = []
        for task in Path(f"/proc/{pid}/task").iterdir():
            handle = _open(int(task.name))
            # Mapped for reading only, the ring is overwritten and never full.
            ring = mmap.mmap(handle, 2 * mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
            os.close(handle)  # mmap has made a descriptor of its own
            self._rings.append(ring)

    def nanoseconds(self) -> int:
        """User time since the start."""
        heads = (struct.unpack_from("<Q", ring, HEAD_OFFSET)[0] for ring in self._rings)
        return sum(int(head) // RECORD_BYTES for head in heads) * PERIOD_NANOSECONDS

    def close(self) -> None:
        for ring in self._rings:
            ring.close()
