"""Bytes of hostile HTTP/1.1, HTTP/2 and TLS clients, and applications that do not answer or do not stop."""

import socket
import ssl
import struct
import threading

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# The maximum number of HTTP/1 fields, long enough to fill a head of the default size.
MANY_FIELDS = b"".join(b"x-%02d: %s\r\n" % (i, b"v" * 132) for i in range(98))


def get(path, more=b""):
    return b"GET " + path + b" HTTP/1.1\r\nhost: localhost\r\n" + more + b"\r\n"


def post(path, sent):
    return b"POST " + path + b" HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000\r\n\r\n" + b" " * sent


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def number(value, bits):
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    coded, value = bytes([most]), value - most
    while value >= 128:
        coded, value = coded + bytes([value % 128 + 128]), value // 128
    return coded + bytes([value])


def field(name, value, kind=0):
    """A field that HPACK does not store in its table, or one that it stores (kind 0x40)."""
    return bytes([kind]) + number(len(name), 7) + name + number(len(value), 7) + value


def head(stream, path, fields=(), method=b"GET", flags=END_HEADERS | END_STREAM):
    block = field(b":method", method) + b"\x86" + field(b":path", path) + field(b":authority", b"localhost")
    return frame(HEADERS, flags, stream, block + b"".join(field(*one) for one in fields))


def opening(large_windows=False):
    """The preface and settings; optionally with very large windows."""
    if not large_windows:
        return PREFACE + frame(SETTINGS, 0, 0)
    largest = (1 << 31) - 1
    settings = struct.pack(">HI", 4, largest)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", largest - 65535))


def streams(count, path, fields=(), data=b"", large_windows=False, method=b"GET"):
    """An HTTP/2 client with this many requests, whose bodies do not end."""
    sent = opening(large_windows)
    for stream in range(1, 2 * count, 2):
        sent += head(stream, path, fields, method, END_HEADERS if data else END_HEADERS | END_STREAM)
        if data:
            sent += frame(DATA, 0, stream, data)
    return sent


def client_hello():
    """The first record of a handshake."""
    outgoing = ssl.MemoryBIO()
    session = ssl._create_unverified_context().wrap_bio(ssl.MemoryBIO(), outgoing)
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


def upstream(answers, port=0):
    """The address of an application that never answers, or whose body does not end."""

    def serve(client):
        try:
            client.recv(65536)
            if answers:
                client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
                while True:
                    client.sendall(b"z" * 65536)
        except OSError:
            pass

    def accept():
        while True:
            client, _ = listener.accept()
            kept.append(client)
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    kept = []
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    threading.Thread(target=accept, daemon=True).start()
    return "http://127.0.0.1:%d" % listener.getsockname()[1]
