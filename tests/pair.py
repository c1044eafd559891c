"""A script's side of a process that stands for its slot: what is sent there and comes back is pickled as for jobs."""

import struct
import subprocess
import sys
from typing import Any

from octapi import pickling


def there(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function in the other process, and return or raise what it returned or raised."""
    code = pickling.dumps(function)
    failed, data = _ask(code, pickling.dumps((args, kwargs)))
    if failed:
        raise pickling.loads_error(data)
    return pickling.loads_result(data)


def _ask(code: bytes, payload: bytes) -> tuple[bool, bytes]:
    if not _other:
        _other.append(
            subprocess.Popen(
                [sys.executable, "-c", "import pair; pair.serve()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
    process = _other[0]
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(struct.pack("<QQ", len(code), len(payload)) + code + payload)
    process.stdin.flush()
    head = process.stdout.read(9)
    failed, size = struct.unpack("<?Q", head)
    return failed, process.stdout.read(size)


_other: list[Any] = []


def serve() -> None:
    """Be the other process."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    while head := source.read(16):
        sizes = struct.unpack("<QQ", head)
        code, payload = (source.read(size) for size in sizes)
        pickling.stand_for_main()
        try:
            call = pickling.loads(code)
            args, kwargs = pickling.loads(payload)
            failed, data = False, pickling.dumps_result(call(*args, **kwargs))
        except BaseException as error:
            failed, data = True, pickling.dumps_error(error)
        sink.write(struct.pack("<?Q", failed, len(data)) + data)
        sink.flush()
