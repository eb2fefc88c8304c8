"""A bad link between two networks, in user space: each frame waits, and some are lost.

python -m tests.link NEAR FAR delay_s loss seed   makes two TAP devices, and says "ready" when they are there
"""

import errno
import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

# linux/if_tun.h: the request that makes a device, whole Ethernet frames, and nothing before them.
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
MAX_WAITING = 20_000
"""Frames under way; what comes when there are so many is lost, as in a full router."""


def tap(name: str) -> int:
    """A new TAP device: a file whose reads are the frames that the kernel sends through it."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return device


def relay(first: int, second: int, delay_s: float, loss: float, seed: int) -> None:
    """Carry frames between two devices until one of them is gone: each way, each waits `delay_s` or is lost."""
    other, chance = {first: second, second: first}, random.Random(seed)
    waiting: deque[tuple[float, int, bytes]] = deque()
    ready = select.poll()
    for device in other:
        ready.register(device, select.POLLIN)
    while True:
        wait_ms = max(0.0, waiting[0][0] - time.monotonic()) * 1000 if waiting else None
        for device, _ in ready.poll(wait_ms):
            for frame in _frames(device):
                if chance.random() >= loss and len(waiting) < MAX_WAITING:
                    waiting.append((time.monotonic() + delay_s, other[device], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, device, frame = waiting.popleft()
            try:
                os.write(device, frame)
            except OSError:
                continue  # that side is down


def _frames(device: int) -> list[bytes]:
    """What lies there to be read; OSError when the device is gone."""
    found: list[bytes] = []
    while len(found) < 100:  # the other side wants its turn
        try:
            found.append(os.read(device, 65_536))
        except BlockingIOError:
            break
    return found


if __name__ == "__main__":
    near, far, delay, loss, seed = sys.argv[1:]
    ends = tap(near), tap(far)
    print("ready", flush=True)
    try:
        relay(*ends, float(delay), float(loss), int(seed))
    except OSError as error:
        if error.errno != errno.EBADFD:  # a host that ends takes its device with it
            raise
