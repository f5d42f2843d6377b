"""What this machine's loopback gives at most: the files' bytes by sendfile(2) on 8 connections, no checksum, no TLS.

python -m benchmarks.sendfile_limit HOST:PORT FOLDER
python -m benchmarks.sendfile_limit HOST:PORT FOLDER BYTES_PER_SECOND    on one connection, paced by the kernel
"""

from __future__ import annotations

import os
import queue
import socket
import struct
import sys
import threading
from pathlib import Path

PART = 16 << 20
CONNECTIONS = 8
_SO_MAX_PACING_RATE = 47  # asm-generic/socket.h


def main(address: str, folder: str, bytes_per_second: str = "") -> None:
    host, port = address.split(":")
    waiting: queue.SimpleQueue[tuple[int, str, int, int] | None] = queue.SimpleQueue()
    for path in sorted(Path(folder).rglob("*"), key=lambda path: -path.stat().st_size):
        if path.is_file():
            fd, size = os.open(path, os.O_RDONLY), path.stat().st_size
            for offset in range(0, size, PART):
                waiting.put((fd, path.name, offset, min(PART, size - offset)))
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with socket.create_connection((host, int(port))) as link:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if bytes_per_second:
                    link.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("I", int(bytes_per_second)))
                while (job := waiting.get()) is not None:
                    _send(link, *job)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(1 if bytes_per_second else CONNECTIONS)]
    for thread in threads:
        waiting.put(None)
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _send(link: socket.socket, fd: int, name: str, offset: int, size: int) -> None:
    link.sendall(f"PUT /bench/sendfile/{name}.{offset} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode())
    end = offset + size
    while offset < end:
        offset += os.sendfile(link.fileno(), fd, offset, end - offset)
    answer = b""
    while b"\r\n\r\n" not in answer:
        if not (more := link.recv(4096)):
            raise ConnectionError("the endpoint hung up")
        answer += more
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(answer[:100].decode(errors="replace"))


if __name__ == "__main__":
    main(*sys.argv[1:])
