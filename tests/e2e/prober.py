#!/usr/bin/env python3
"""Compares `probe` with a prober on Go's net/http, answer by answer.

usage: prober.py BINARY [--go GO] [--only SUBSTRING] [--verbose]

A server gives more than a thousand odd answers to both. The result, the text of the event and the requests sent have
to be the same, but for the differences that DIFFERENCES explains.
"""

import argparse
import itertools
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Long enough for attempts that end without a timeout, on a busy machine.
TIMEOUT = 20
# For attempts that end only by their timeout.
SHORT_TIMEOUT = 1

# Cases where the two may differ: only in the text ("message"), or in everything ("any"), with the reason.
DIFFERENCES = {}

FIN, RESET, HANG = "fin", "reset", "hang"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Case:
    name: str
    answer: bytes
    end: str = FIN


def cases():
    """All cases; HOST and PORT in an answer are replaced by those of its server."""
    yield from status_lines()
    yield from fields()
    yield from lengths()
    yield from chunks()
    yield from bodies()
    yield from redirects()
    yield from mutations()


def status_lines():
    rest = b"\r\nContent-Length: 0\r\n\r\n"
    lines = [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 \t200 OK",
        b"HTTP/1.1 200\tOK", b"HTTP/1.1 200OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 -00 OK", b"HTTP/1.1 0x2 OK", b"HTTP/1.1 2_0 OK", b"HTTP/1.1 000 OK", b"HTTP/1.1 020 OK", b"HTTP/1.1 099 OK",
        b"HTTP/1.1 199 x", b"HTTP/1.1 299 x", b"HTTP/1.1 399 x", b"HTTP/1.1 999 x", b"HTTP/1.0 200 OK", b"HTTP/1.2 200 OK",
        b"HTTP/2.0 200 OK", b"HTTP/2 200 OK", b"HTTP/0.9 200 OK", b"HTTP/0.0 200 OK", b"HTTP/9.9 200 OK", b"HTTP/1.10 200 OK",
        b"HTTP/11 200 OK", b"HTTP/1,1 200 OK", b"http/1.1 200 OK", b"HTTP/1.1\r 200 OK", b" HTTP/1.1 200 OK", b"ICY 200 OK", b"200 OK",
        b"HTTP/1.1 200 \xff\x00", b"HTTP/1.1 200 OK\r", b"HTTP/1.1 \xe9\xe9\xe9 OK", b"HTTP/+.1 200 OK", b"HTTP/1.- 200 OK", b"", b"\r",
        b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 2\r0 OK", b"\xef\xbb\xbfHTTP/1.1 200 OK", b"HTTP/1.1 200 " + b"x" * 5000,
    ]  # fmt: skip
    for line in lines:
        yield Case(f"status line {line[:40]!r}", line + rest)
    yield Case("status line with a bare LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n")
    yield Case("status line alone", b"HTTP/1.1 200 OK\r\n")
    yield Case("status line without end", b"HTTP/1.1 200 OK")
    yield Case("empty answer", b"")
    yield Case("empty answer, then a reset", b"", RESET)
    yield Case("half a head, then a reset", b"HTTP/1.1 200 OK\r\nContent-Le", RESET)
    for status in (100, 101, 102, 103, 200, 204, 205, 206, 300, 301, 302, 304, 305, 307, 308, 400, 404, 429, 500, 503):
        for headers in (b"", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"):
            body = b"3\r\nabc\r\n0\r\n\r\n" if b"chunked" in headers else b"abc"
            yield Case(f"status {status} with {headers!r}", b"HTTP/1.1 %d x\r\n%s\r\n%s" % (status, headers, body))
    switch = b"HTTP/1.1 101 x\r\nUpgrade: x\r\n%s\r\nabc"
    for connection in (b"Connection: Upgrade\r\n", b"Connection: close, upgrade\r\n", b"Connection: keep-alive, Upgrade\r\n", b""):
        yield Case(f"switch of protocols with {connection!r}", switch % connection)
    yield Case("hints, then an answer", b"HTTP/1.1 103 x\r\nLink: y\r\n\r\n" * 7 + OK)
    yield Case("hints, then garbage", b"HTTP/1.1 103 x\r\n\r\ngarbage\r\n\r\n")
    yield Case("hints with a length that is none", b"HTTP/1.1 103 x\r\nContent-Length: x\r\n\r\n" + OK)


def fields():
    lines = [
        b"X: a", b"X:a", b"X:", b":", b": a", b"X : a", b"X\t: a", b" X: a", b"\tX: a", b"X Y: a", b"X", b"X\r", b"X: a\r", b"X: a\rb",
        b"X: a\x00b", b"X: a\x0c", b"X: a\x0b", b"X:\x0ca", b"X: a\x7f", b"X: a\x80\xff", b"X\x80: a", b"X(): a", b"X/Y: a", b'"X": a',
        b"X: a\x1f", b"X: \t a \t", b"X: a\r\n b", b"X: a\r\n\tb", b"X: a\r\n  ", b"X: a\r\n \r\n c", b"X:\r\n b", b"X: a\r\n b: c",
        b"X: a\r\n b\x0c", b"X: a\n b", b"X: a\r\n\r b", b"Content-Length : 5", b"Content-Length:2", b"cOnTeNt-LeNgTh: 2", b"Content-Length\t: 2",
        b"X@: a", b"X[]: a", b"X{}: a", b"X=: a", b"{: a", b"!#$%&'*+-.^_`|~: a", b"X: \xf0\x9f\x98\x80", b"\x0cX: a", b"X: a\r\n\x0cY: b",
        b"X: " + b"a" * 5000, b"X: " + b"a" * 4091, b"X: " + b"a" * 4092 + b"\r", b"Y" * 5000 + b": a", b"X: a\r\n" + b" " * 5000 + b"b",
        b"X: a\r\n" * 500 + b"X: b", b" " * 100, b"\t" + b"x" * 100, b"Pragma: no-cache", b"Connection: close", b"Content-Encoding: gzip",
        b"Location: /x", b"X: a\r\nX\r\nY: b", b"X: a\r\n:b", b"X: a\r\n\x00", b"X: a\r\n b\r\nY", b"X: a\r\n b\r\n\tY",
    ]  # fmt: skip
    for line in lines:
        head = b"HTTP/1.1 200 OK\r\n"
        yield Case(f"field {line[:40]!r} of {len(line)}", head + line + b"\r\nContent-Length: 2\r\n\r\nok")
        yield Case(f"last field {line[:40]!r} of {len(line)}", head + b"Content-Length: 2\r\n" + line + b"\r\n\r\nok")
    for end in (b"\r\r\n", b"\n", b"\r\n \r\n\r\n", b" \r\n", b"\r\n\x0c\r\n\r\n", b"\r", b"\r\n\r", b"\n\r\n", b"\r\n\n"):
        yield Case(f"end of the head {end!r}", b"HTTP/1.1 200 OK\r\nContent-Length: 2" + end + b"ok")
        yield Case(f"end of a field {end!r}", b"HTTP/1.1 200 OK\r\nX: a" + end + b"Content-Length: 2\r\n\r\nok")


def lengths():
    values = [
        b"2", b" 2 ", b"+2", b"-2", b"0", b"-0", b"02", b"0x2", b"2.0", b"2 2", b"2, 2", b"2,3", b"", b" ", b"two", b"\xb2", b"2_0", b"2;a", b"'2'",
        b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"99999999999999999999999", b"0" * 40 + b"2", b"2\t", b"\t2",
    ]  # fmt: skip
    for value in values:
        yield Case(f"length {value!r}", b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nok" % value)
        for status in (204, 304, 500):
            if value in (b"2", b"-2", b"two", b"2, 2", b""):
                yield Case(f"length {value!r} of {status}", b"HTTP/1.1 %d x\r\nContent-Length: %s\r\n\r\nok" % (status, value))
    pairs = [(b"2", b"2"), (b"2", b"3"), (b"2", b"02"), (b"2", b" 2 "), (b"2", b""), (b"x", b"x"), (b"", b""), (b"0", b"2")]
    for one, two in pairs:
        both = b"Content-Length: %s\r\nContent-Length: %s\r\n" % (one, two)
        yield Case(f"lengths {one!r} and {two!r}", b"HTTP/1.1 200 OK\r\n%s\r\nok" % both)
        yield Case(f"lengths {one!r} and {two!r}, chunked", CHUNKED[:-2] + both + b"\r\n2\r\nok\r\n0\r\n\r\n")
        yield Case(f"lengths {one!r} and {two!r} of 204", b"HTTP/1.1 204 x\r\n%s\r\n" % both)
    body = b"\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    encodings = [
        b"chunked", b"Chunked", b" chunked ", b"chunked;q=1", b"chunked, chunked", b"gzip, chunked", b"identity", b"gzip", b"", b"chunked,",
        b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\nTransfer-Encoding: identity", b"\r\n chunked", b"chunked\r\nContent-Length: 2",
        b"chunked\r\nContent-Length: x", b"identity\r\nContent-Length: 2", b"chun\xe2\x84\xaaed", b"chunked\r\nConnection: close",
        b"chunked\r\nTrailer: X", b"chunked\r\nTrailer: Content-Length", b"chunked\r\nTrailer: X, transfer-encoding", b"chunked\r\nTrailer: trailer ,",
        b"chunked\r\nTrailer: ,,", b"chunked\r\nTrailer: content-length x",
    ]  # fmt: skip
    for encoding in encodings:
        for version in (b"1.0", b"1.1", b"2.0", b"0.0"):
            head = b"HTTP/%s 200 OK\r\nTransfer-Encoding: %s" % (version, encoding)
            yield Case(f"encoding {encoding!r} in {version.decode()}", head + body)
    yield Case("a trailer announced without chunks", b"HTTP/1.1 200 OK\r\nTrailer: Content-Length\r\nContent-Length: 2\r\n\r\nok")


def chunks():
    bodies = [
        b"2\r\nok\r\n0\r\n\r\n", b"2\nok\n0\n\n", b"2\r\nok\r\n0\r\n", b"2\r\nok\r\n0", b"2\r\nok\r\n", b"2\r\nok", b"2\r\no", b"2\r\n", b"2", b"",
        b"0\r\n\r\n", b"00\r\n\r\n", b"2 \r\nok\r\n0\r\n\r\n", b" 2\r\nok\r\n0\r\n\r\n", b"2\t\r\nok\r\n0\r\n\r\n", b"2\x0c\r\nok\r\n0\r\n\r\n",
        b"2\r \r\nok\r\n0\r\n\r\n", b"2\r\r\nok\r\n0\r\n\r\n", b"2 \r\r\nok\r\n0\r\n\r\n", b"2;a\rb\r\nok\r\n0\r\n\r\n", b"2;a\n\r\nok\r\n0\r\n\r\n",
        b"2;a=b\r\nok\r\n0\r\n\r\n", b'2;a="b;c"\r\nok\r\n0\r\n\r\n', b"2;\r\nok\r\n0\r\n\r\n", b"2 ;a\r\nok\r\n0\r\n\r\n", b"2\t;a\r\nok\r\n0\r\n\r\n", b";a\r\nok\r\n",
        b"2;\x00\xff\r\nok\r\n0\r\n\r\n", b"0x2\r\nok\r\n0\r\n\r\n", b"+2\r\nok\r\n0\r\n\r\n", b"-2\r\nok\r\n0\r\n\r\n", b"2h\r\nok\r\n0\r\n\r\n", b"zz\r\n", b"\r\n",
        b"\xff\r\n", b"0000000000000002\r\nok\r\n0\r\n\r\n", b"00000000000000002\r\nok\r\n0\r\n\r\n", b"ffffffffffffffff\r\nok", b"fffffffffffffffff\r\nok",
        b"7fffffffffffffff\r\nok", b"A\r\n0123456789\r\n0\r\n\r\n", b"a\r\n0123456789\r\n0\r\n\r\n", b"2\r\nokX\r\n0\r\n\r\n", b"2\r\nok\n0\r\n\r\n",
        b"2\r\nok\r0\r\n\r\n", b"2\r\nok0\r\n\r\n", b"2\r\nok\r\nzz\r\n", b"2\r\nok\r\n\r\n0\r\n\r\n", b"2\r\nok\r\n0\r\nX: y\r\n\r\n", b"2\r\nok\r\n0\r\nX\r\n\r\n",
        b"2\r\nok\r\n0\r\n X: y\r\n\r\n", b"2\r\nok\r\n0\r\nX: y\r\n", b"2\r\nok\r\n0\r\nX: y", b"2\r\nok\r\n0\r\nX: y\n\n", b"2\r\nok\r\n0\r\n\n", b"2\r\nok\r\n0\r\n\rX",
        b"2\r\nok\r\n0\r\n\r", b"2\r\nok\r\n0\r\nX: a\x0c\r\n\r\n", b"2\r\nok\r\n0\r\nX: a\r\n b\r\n\r\n", b"2\r\nok\r\n0\r\nContent-Length: 5\r\n\r\n",
        b"2\r\nok\r\n0;last\r\n\r\n", b"2\r\nok\r\n0\r\n\r\nmore", b"2\r\nok\r\n0\r\nX: " + b"a" * 3000 + b"\r\n\r\n", b"2\r\nok\r\n0\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
        b"2\r\nok\r\n0\r\n" + b"X: y\r\n" * 1000 + b"\r\n", b"2;" + b"x" * 4000 + b"\r\nok\r\n0\r\n\r\n", b"2;" + b"x" * 4091 + b"\r\nok\r\n0\r\n\r\n",
        b"2;" + b"x" * 4092 + b"\r\nok\r\n0\r\n\r\n", b"2;" + b"x" * 5000 + b"\r\nok\r\n0\r\n\r\n", b"2;" + b"x" * 5000,
    ]  # fmt: skip
    for body in bodies:
        yield Case(f"chunks {body[:40]!r} of {len(body)}", CHUNKED + body)
    one = b"1\r\nx\r\n"
    for count in (10, 1000, 5000, 10239, 10240, 10241):
        yield Case(f"{count} chunks of one byte", CHUNKED + one * count + b"0\r\n\r\n")
        yield Case(f"{count} chunks of one byte, then garbage", CHUNKED + one * count + b"zzzz\r\n")
    for count, size in itertools.product((1, 3, 5, 6, 7, 10, 20), (100, 1000, 3000)):
        extended = b"5;" + b"x" * size + b"\r\nhello\r\n"
        yield Case(f"{count} chunks with an extension of {size} bytes", CHUNKED + extended * count + b"0\r\n\r\n")


def bodies():
    limit = 10240
    for size in (limit - 2, limit - 1, limit, limit + 1, limit + 2, 3 * limit):
        data = b"x" * size
        for status in (200, 302, 500):
            head = b"HTTP/1.1 %d x\r\n" % status
            yield Case(f"{size} bytes of {status} up to the end", head + b"\r\n" + data)
            yield Case(f"{size} bytes of {status} up to a reset", head + b"\r\n" + data, RESET)
            yield Case(f"{size} bytes of {status} of 10300", head + b"Content-Length: 10300\r\n\r\n" + data)
        chunk = CHUNKED + b"%x\r\n" % size + data
        for rest in (b"\r\n0\r\n\r\n", b"", b"\r\n", b"zzzz", b"\r\nzzzz\r\n", b"z", b"\r\n0\r\nX\r\n\r\n", b"\r\n1;a\rb\r\nx\r\n0\r\n\r\n"):
            yield Case(f"a chunk of {size} bytes, then {rest!r}", chunk + rest)
        halves = b"1000\r\n" + b"x" * 4096 + b"\r\n%x\r\n" % (size - 4096) + b"x" * (size - 4096)
        for rest in (b"\r\n0\r\n\r\n", b"zzzz", b"\r\nzzzz\r\n"):
            yield Case(f"chunks of 4096 and {size - 4096} bytes, then {rest!r}", CHUNKED + halves + rest)
    for size in (4096, 4096 - len(CHUNKED), 8192, 8192 - len(CHUNKED) - 6):
        yield Case(f"a chunk of {size} bytes, then zzzz", CHUNKED + b"%x\r\n" % size + b"x" * size + b"zzzz")
    for head in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"):
        for end in (FIN, RESET, HANG):
            yield Case(f"a short body with {head!r}, then {end}", b"HTTP/1.1 200 OK\r\n" + head + b"\r\n1\r\n", end)
    yield Case("a body without end, then nothing", b"HTTP/1.1 200 OK\r\n\r\nx", HANG)
    yield Case("an empty body", b"HTTP/1.1 200 OK\r\n\r\n")
    yield Case("an empty body, then a reset", b"HTTP/1.1 200 OK\r\n\r\n", RESET)
    yield Case("a last chunk without its end, then nothing", CHUNKED + b"2\r\nok\r\n0\r\n", HANG)
    yield Case("nothing", b"", HANG)
    yield Case("half a head, then nothing", b"HTTP/1.1 200 OK\r\nX: ", HANG)


def redirects():
    for text in locations():
        location = text if isinstance(text, bytes) else text.encode()
        answer = b"HTTP/1.1 302 x\r\nLocation: %s\r\nContent-Length: 4\r\n\r\nbody" % location
        yield Case(f"location {text!r}", answer)
    for status in (300, 301, 303, 304, 305, 306, 307, 308, 309):
        yield Case(f"{status} with a location", b"HTTP/1.1 %d x\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n" % status)
    two = b"HTTP/1.1 302 x\r\nLocation: %s\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
    for one, other in ((b"/x", b"/y"), (b"", b"/y"), (b"%zz", b"/y")):
        yield Case(f"locations {one!r} and {other!r}", two % (one, other))
    moved = b"HTTP/1.1 302 x\r\nLocation: /x\r\n"
    for size in (0, 1, 2047, 2048, 2049, 5000):
        for sent in {0, size}:
            body = b"x" * sent
            yield Case(f"a redirect with {sent} of {size} bytes", moved + b"Content-Length: %d\r\n\r\n" % size + body)
        yield Case(f"a redirect with {size} bytes up to the end", moved + b"\r\n" + b"x" * size)
        chunk = b"%x\r\n" % size + b"x" * size + b"zz"
        yield Case(f"a redirect with a broken chunk of {size} bytes", moved + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    yield Case("a redirect whose body hangs", moved + b"Content-Length: 5\r\n\r\nx", HANG)
    yield Case("a redirect whose long body hangs", moved + b"Content-Length: 2049\r\n\r\nx", HANG)
    yield Case("a redirect with a field that is wrong", moved + b"X\r\n\r\n")


def locations():
    yield from (
        "/x", "x", "./x", "../x", "../../x", "/a/../x", "/a/./x", "/a/..", "/a/.", ".", "..", "...", "a/..", "a/../..", "/..", "/../", "//", "///",
        "///path", "////path", "/a//b", "//HOST/x", "//HOST", "//HOST?q", "http://HOST/x", "http://HOST", "http://HOST?q", "http://HOST/#f", "HTTP://HOST/x",
        "http://HOST/a/../x", "http:///x", "http:/x", "http:x", "http:", "http://", "https://HOST/", "ftp://HOST/x", "x-y+z.1://HOST/", "1x://HOST/", ":x", "://x", "?", "?q",
        "?a?b", "??", "#f", "#", "", "?q#f", "x?q#f", "x#a#b", "#%zz", "x#%zz", "x#a b", "x#\"'<>", "/%zz", "/%4", "/%", "/%41", "/%2e%2e/x", "/a%2Fb", "/a%2fb", "/?%zz", "/a b", "/a\tb",
        "/a|b", "/a^b", "/a`b", "/a{}b", "/a\"b", "/a<>b", "/a\\b", "/a[b]c", "/a!b'c(d)e*f", "/a;b,c=d", "/a:b@c", "a:b", "./a:b", "/a$&+b", "/~a_b-c.d", "/é", b"/\xe9", b"/a\xff b",
        "/é%2f", "/?é", b"/?\xff", "/? a", "/?a|b<>\"", "*", "/*", "?*", "u:p@x", "//u:p@HOST/", "http://u:p@HOST/x", "http://u@HOST/x", "http://u:@HOST/x", "http://:p@HOST/x",
        "http://:@HOST/x", "http://@HOST/x", "http://u:p:q@HOST/x", "http://u@v:p@HOST/x", "http://u%40v:p%3Aq@HOST/x", "http://%zz@HOST/x", "http://u%zz:p@HOST/", "http://u p@HOST/x",
        "http://u/p@HOST/x", "http://ü:p@HOST/x", "http://u[:p@HOST/x", "http://u!$&'()*+,;=:p@HOST/x", "//u:p@[::1]/", "http://127.0.0.%31:PORT/", "http://127.0.0.1%3APORT/", "http://127.0.0.1:PORT%2f/", "http://127.0.0.1:/x", "http://127.0.0.1:0/", "http://127.0.0.1:65536/",
        "http://127.0.0.1:99999/", "http://127.0.0.1:0PORT/", "http://127.0.0.1:x/", "http://127.0.0.1:-1/", "http://127.0.0.1:PORT:PORT/", "//127.0.0.1:PORT:PORT/", "http://127.0.0.1 :PORT/",
        "http://127.0.0.1./", "http://127.1/", "http://localhost/", "http://[::1]/", "http://[::1/", "http://[::1]x/", "http://[::1]:x/", "http://[::1]:/", "http://[1]/", "http://[1.2.3.4]/",
        "http://[::ffff:1.2.3.4]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%25]/", "http://[fe80::1%eth0]/", "http://[fe80::1%25e%20th]/", "http://[::%31]/", "http://x[::1]/", "http://[]/", "http://]/", "http://[a]b]/",
        "http://a_b/", "http://a b/", "http://a<b/", "http://a\\b/", "http://a^b/", "http://a|b/", "http://a{b/", "http://a%b/", "http://a%20b/", "http://a%25b/", "http://%C3%A9/", "http://é/", b"http://\xff/",
        "http://a\"b/", "http://a;b=c/", "http://a,b/", "http://a!b/", "http://a?b/c", "http://a#b", "http://?x", "http://#x", "mailto:a@b", "javascript:alert(1)", "data:,x", "//[::1", "//a:b", "//a:b:1",
        "/c\x0c", "\x0c/c", "/c\x7f", "http://HOST/ /", "http:\\\\HOST\\x", "\\x", "/\\x", "http://HOST\\x", "http://HOST:/x", "hTTp://HOST/%7Ex", "/x/", "/x//", "x/y/../../z", "/.//x", "/a/b/../../../../x", "/a/%2e./x",
    )  # fmt: skip


def mutations():
    """Answers with a few bytes inserted, removed or replaced; the same ones in each run."""
    draw = random.Random(20)
    bases = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nok",
        CHUNKED + b"2;a=b\r\nok\r\n3\r\nyes\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://HOST/a/../b?c#d\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.0 500 x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nno!",
    ]
    alphabet = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b";", b"\x00", b"\x0c", b"\x7f", b"\xff", b"0", b"1", b"9", b"a", b"%", b"/", b"@", b"-", b",", b"[", b"#"]
    for number in range(600):
        answer = bytearray(bases[number % len(bases)])
        for _ in range(draw.choice((1, 1, 2, 3))):
            at = draw.randrange(len(answer))
            what = draw.choice(("insert", "remove", "replace"))
            answer[at : at + (what != "insert")] = b"" if what == "remove" else draw.choice(alphabet)
        yield Case(f"mutation {number}: {bytes(answer)!r}", bytes(answer))


@dataclass
class Server:
    """Answers `/case` with a case's answer, and other paths normally. Records the requests."""

    case: Case
    requests: list = field(default_factory=list)

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self.serve(connection)
                except OSError:
                    pass

    def serve(self, connection):
        connection.settimeout(TIMEOUT)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            got = connection.recv(4096)
            if not got:
                return
            head += got
        self.requests.append(head)
        if not re.match(rb"GET /case[ ?]", head):
            connection.sendall(OK)
            return
        host = b"127.0.0.1:%d" % self.port
        answer = self.case.answer.replace(b"HOST", host).replace(b"PORT", b"%d" % self.port)
        connection.sendall(answer)
        if self.case.end == RESET:
            # Let the client read the answer before the reset discards it.
            threading.Event().wait(0.05)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.case.end == HANG:
            connection.recv(1)
        else:
            # A close with unread bytes would be a reset.
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)


def attempt(command, case):
    """A prober's view of a case: result, text and requests."""
    seconds = SHORT_TIMEOUT if case.end == HANG else TIMEOUT
    with Server(case) as server:
        url = f"http://127.0.0.1:{server.port}/case"
        line = [part.replace("TIMEOUT", f"{seconds}s").replace("URL", url) for part in command]
        out = subprocess.run(line, capture_output=True, timeout=3 * TIMEOUT, check=False)
        try:
            outcome = json.loads(out.stdout)
        except ValueError:
            sys.exit(f"{line} printed {out.stdout!r} {out.stderr!r}")
        port = str(server.port)
        message = outcome["message"].replace(port, "PORT")
        requests = [request.replace(port.encode(), b"PORT") for request in server.requests]
    message = re.sub(r"127\.0\.0\.1:\d+->", "LOCAL->", message)
    message = re.sub("\ufffd+", "\ufffd", message)
    # Ours ends after 1 KiB.
    return outcome["result"], message[:900], requests


def compare(ours, gos, case):
    """The differences, or nothing."""
    one, other = attempt(ours, case), attempt(gos, case)
    differences = []
    for what, a, b in zip(("result", "message", "requests"), one, other, strict=True):
        if a != b:
            differences.append((what, a, b))
    return case, differences


def build(go, folder):
    """Builds the prober on Go's net/http, which only needs the standard library."""
    out = str(Path(folder) / "go-prober")
    settings = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOTELEMETRY": "off"}
    subprocess.run([go, "build", "-o", out, "."], cwd=HERE / "go-prober", check=True, env=os.environ | settings)
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--go", default="target/venv/bin/go")
    parser.add_argument("--go-prober", help="one that is built already")
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="probesim-go-") as folder:
        go_prober = arguments.go_prober or build(Path(arguments.go).absolute(), folder)
        failures = run(arguments, go_prober)
    sys.exit(failures > 0)


def run(arguments, go_prober):
    """Runs both probers against every answer, prints the differences, and returns their number."""
    ours = [arguments.binary, "probe", "--timeout", "TIMEOUT", "--output", "json", "URL"]
    gos = [go_prober, "TIMEOUT", "URL"]
    chosen = [case for case in cases() if arguments.only in case.name]
    names = [case.name for case in chosen]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    failures = excused = 0
    with ThreadPoolExecutor(4) as pool:
        for case, differences in pool.map(lambda case: compare(ours, gos, case), chosen):
            allowed, reason = DIFFERENCES.get(case.name, ("", ""))
            unexcused = [d for d in differences if allowed not in ("any", d[0])]
            excused += bool(differences) and not unexcused
            failures += bool(unexcused)
            if unexcused or (differences and arguments.verbose):
                print(f"{case.name}{' (' + reason + ')' if reason else ''}")
                for what, a, b in differences:
                    print(f"    {what}: ours {a!r}\n    {' ' * len(what)}  Go's {b!r}")
    print(f"{len(chosen)} answers, {failures} judged in another way, {excused} known to differ")
    return failures


if __name__ == "__main__":
    main()
