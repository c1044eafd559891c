"""A relay between a client or a worker and a master, whose connections a test can cut, stall and open again."""

import collections
import contextlib
import selectors
import socket
import threading
import time


class Relay:
    """Passes bytes between who connects to ``port`` and ``target`` on loopback, each ``delay_s`` later."""

    def __init__(self, target: int, bytes_per_s: float = 0.0, delay_s: float = 0.0) -> None:
        self.bytes_per_s = bytes_per_s
        self.delay_s = delay_s
        self.target = target
        self.is_open = True
        self.made = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.is_open:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._pairs.append((near, far))
                self.made += 1
            self._start(self._pass_on, near, far)

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        others = {near: far, far: near}
        with selectors.DefaultSelector() as selector, near, far, contextlib.suppress(OSError, ValueError):
            for sock in others:
                selector.register(sock, selectors.EVENT_READ)
            late: collections.deque[tuple[float, socket.socket, bytes]] = collections.deque()
            while True:
                wait_s = max(0.0, late[0][0] - time.monotonic()) if late else None
                for key, _ in selector.select(wait_s):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    data = sock.recv(1 << 16)
                    if not data:
                        return
                    late.append((time.monotonic() + self.delay_s, others[sock], data))
                    if self.bytes_per_s:
                        time.sleep(len(data) / self.bytes_per_s)
                while late and late[0][0] <= time.monotonic():
                    _, other, data = late.popleft()
                    other.sendall(data)

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for sock in pair:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it all."""
        self.is_open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
