#!/usr/bin/env python3
"""relay.py NEAR FAR MILLISECONDS: joins two network interfaces and delays every frame between them.

Does what "tc netem delay" would, on kernels that lack it. Each frame travels with its virtio header,
which keeps checksum and segmentation offload as they were, so nothing is switched off for it.
"""
import collections
import select
import socket
import struct
import sys
import time

SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_VNET_HDR = 263, 1, 15  # linux/if_packet.h
PACKET_MR_PROMISC, PACKET_OUTGOING, ETH_P_ALL = 1, 4, 3
SO_RCVBUFFORCE = 33
BATCH = 64  # frames taken from one side before the other gets its turn


def attach(interface):
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    raw.bind((interface, ETH_P_ALL))
    promiscuous = struct.pack("iHH8s", socket.if_nametoindex(interface), PACKET_MR_PROMISC, 0, b"")
    raw.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuous)
    raw.setblocking(False)
    return raw


def take(source, target, due, waiting):
    for _ in range(BATCH):
        try:
            frame, address = source.recvfrom(70000)
        except BlockingIOError:
            return
        if address[2] != PACKET_OUTGOING:  # what we sent ourselves is seen too
            waiting.append((due, target, frame))


def main(near, far, delay):
    near, far = attach(near), attach(far)
    waiting = collections.deque()  # one delay for all: first in, first out
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select([near, far], [], [], pause)
        now = time.monotonic()
        for source in ready:
            take(source, far if source is near else near, now + delay, waiting)
        while waiting and waiting[0][0] <= now:
            _, target, frame = waiting.popleft()
            try:
                target.send(frame)
            except OSError:
                pass  # queue full or link down: a network loses such frames, too


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000)
