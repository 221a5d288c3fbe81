"""Length-prefixed JSON between the pool and its processes: a pickle is not for a hostile end."""

import asyncio
import base64
import struct
from dataclasses import asdict
from typing import Any, BinaryIO

import orjson

from consumers.dlp.budget import Limits
from consumers.dlp.detectors import Rules

LENGTH = struct.Struct(">Q")
PIECE = 256 << 10
LONGEST_REPLY = 16 << 20


def frame(body: bytes) -> bytes:
    """Put the length before a message."""
    return LENGTH.pack(len(body)) + body


def read_frame(pipe: BinaryIO) -> bytes | None:
    """Read a message, None at the end of the pipe."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = pipe.read(length)
    return body if len(body) == length else None


async def receive(reader: asyncio.StreamReader) -> bytes:
    """Read a reply.

    Raises:
        EOFError: The process ended, or its reply makes no sense.
    """
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > LONGEST_REPLY:
        raise EOFError("a reply of that length is not one of ours")
    return await reader.readexactly(length)


async def send(writer: asyncio.StreamWriter, head: bytes, content: bytes | None) -> None:
    """Send a request and the content it announces, in pieces, so that the loop never copies it whole."""
    writer.write(frame(head))
    if content is not None:
        writer.write(LENGTH.pack(len(content)))
        view = memoryview(content)
        for start in range(0, len(view), PIECE):
            writer.write(view[start : start + PIECE])
            await writer.drain()
    await writer.drain()


def pack_setup(rules: Rules, limits: Limits) -> bytes:
    """The first message: rules and limits. It carries the key, hence by pipe and not by environment."""
    return orjson.dumps(
        {
            "detectors": [detector.model_dump(mode="json") for detector in rules.detectors],
            "key": base64.b64encode(rules.key.get_secret_value()).decode(),
            "limits": asdict(limits),
        }
    )


def unpack_setup(body: bytes) -> tuple[Rules, Limits]:
    """What `pack_setup` wrote."""
    setup: dict[str, Any] = orjson.loads(body)
    rules = Rules.model_validate({"detectors": setup["detectors"], "key": base64.b64decode(setup["key"])})
    return rules, Limits(**setup["limits"])
