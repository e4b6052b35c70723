# SPDX-License-Identifier: Apache-2.0
"""Baseline: the PyPI package NetfilterQueue with the smallest callback that tags and accepts.

Takes the options of c-plain. The package has no call for the GSO flag; the rest is set alike.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket

import netfilterqueue

RECEIVE_BUFFER_BYTES = 64 << 20
SOL_NETLINK = 270
NETLINK_NO_ENOBUFS = 5


class Stop(Exception):
    """Raised by the signal handler."""


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queue", type=int, default=31000)
    parser.add_argument("--copy-range", type=int, default=128)
    parser.add_argument("--max-length", type=int, default=8192)
    parser.add_argument("--mark-mask", type=lambda text: int(text, 0), default=0x3FFFFF00)
    parser.add_argument("--mark-shift", type=int, default=8)
    return parser.parse_args()


def stop(_signal: int, _frame: object) -> None:
    raise Stop


def main() -> None:
    options = parse_options()
    mask, shift = options.mark_mask, options.mark_shift
    others = ~mask & 0xFFFFFFFF
    packets = 0

    def tag(packet: netfilterqueue.Packet) -> None:
        nonlocal packets
        packets += 1
        packet.set_mark((packet.get_mark() & others) | ((packets << shift) & mask))
        packet.accept()

    queue = netfilterqueue.NetfilterQueue()
    queue.bind(
        options.queue,
        tag,
        max_len=options.max_length,
        mode=netfilterqueue.COPY_PACKET,
        range=options.copy_range,
        sock_len=RECEIVE_BUFFER_BYTES,
    )
    with socket.socket(fileno=queue.get_fd()) as handle:
        handle.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
        handle.detach()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        queue.run()
    except Stop:
        pass
    print(json.dumps({"packets": packets}), flush=True)


if __name__ == "__main__":
    main()
