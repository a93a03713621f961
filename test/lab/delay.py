"""Carries frames between an interface and a bridge, each so many milliseconds later.

Arguments: interface, bridge, milliseconds. This kernel has no netem. Runs in the bridge's namespace.
"""
import collections
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
PACKET_OUTGOING = 4
MOST_WAITING = 20_000

interface, bridge, delay = sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000

tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
name = f"d-{interface}"
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
subprocess.run(["ip", "link", "set", name, "master", bridge, "up"], check=True)

cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
cable.bind((interface, 0))
cable.setblocking(False)

waiting = collections.deque()
poll = select.poll()
poll.register(tap, select.POLLIN)
poll.register(cable, select.POLLIN)
print("ready", flush=True)

while True:
    timeout = 1000.0
    if waiting:
        timeout = max(0.0, (waiting[0][0] - time.monotonic()) * 1000)
    for descriptor, _ in poll.poll(timeout):
        due = time.monotonic() + delay
        try:
            if descriptor == tap:
                frame = os.read(tap, 65536)
                to_bridge = False
            else:
                frame, address = cable.recvfrom(65536)
                if address[2] == PACKET_OUTGOING:
                    continue
                to_bridge = True
        except BlockingIOError:
            continue
        if len(waiting) < MOST_WAITING:
            waiting.append((due, to_bridge, frame))
    while waiting and waiting[0][0] <= time.monotonic():
        _, to_bridge, frame = waiting.popleft()
        try:
            if to_bridge:
                os.write(tap, frame)
            else:
                cable.send(frame)
        except OSError:
            pass
