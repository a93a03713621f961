"""Sends an SNMPv2c INFORM (RFC 3416 § 4.2.7) as a strict sender does: it hears only whom it asked.

Arguments: address, number of the request, seconds to wait. Says by whom it was answered; ends with 1
if nobody did.
"""
import socket, sys

address, number, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
uptime = bytes.fromhex("300d06082b06010201010300430164")
link_down = bytes.fromhex("3017060a2b06010603010104010006092b0601060301010503")
pdu = b"\x02\x04" + number.to_bytes(4, "big") + bytes.fromhex("0201000201003028") + uptime + link_down
message = bytes.fromhex("30430201010406") + b"public" + b"\xa6\x36" + pdu
sender = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
# A socket that is connected takes nothing from any other address.
sender.connect((address, 162))
sender.settimeout(seconds)
try:
    sender.send(message)
    answer = sender.recv(2048)
except OSError as error:
    sys.exit(f"no answer from {address}: {error}")
if b"\xa2" not in answer or pdu[2:6] not in answer:
    sys.exit(f"{address} answered something else: {answer.hex()}")
