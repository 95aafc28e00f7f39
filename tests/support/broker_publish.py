"""Publishes to a room by docs/broker-protocol.md alone: redis|nats PORT ROOM TEXT..."""

import json
import socket
import sys


def envelope(number, room, text):
    header = {
        "version": 1,
        "from": "python",
        "id": number,
        "rooms": [room],
        "except": [],
        "isBinary": False,
    }
    line = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    return f"{line}\n{text}".encode()


def redis(connection, channel, message):
    parts = [b"PUBLISH", b"ws-events:" + channel.encode(), message]
    command = b"*%d\r\n" % len(parts)
    for part in parts:
        command += b"$%d\r\n%s\r\n" % (len(part), part)
    connection.sendall(command)
    assert connection.recv(100).startswith(b":")


def nats(connection, channel, message):
    subject = b"ws-events." + channel.encode().hex().encode()
    connection.sendall(b"PUB %s %d\r\n%s\r\n" % (subject, len(message), message))
    connection.sendall(b"PING\r\n")
    while b"PONG" not in connection.recv(1000):
        pass


broker, port, room, *texts = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(port))) as connection:
    if broker == "nats":
        connection.recv(10_000)
        connection.sendall(b'CONNECT {"verbose":false}\r\n')
    publish = redis if broker == "redis" else nats
    channel = f"room {room}"
    publish(connection, channel, b"malformed")
    publish(connection, channel, b'{"version":2}\nlater')
    for number, text in enumerate(texts, 1):
        publish(connection, channel, envelope(number, room, text))
