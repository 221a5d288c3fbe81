"""A writer for compound files, just enough for an Office document that is encrypted.

Source: [MS-CFB]; [MS-OFFCRYPTO] 2.3.4.10 (agile encryption). Version 3, sectors of 512 bytes,
no small-stream area: each stream is padded to the 4,096 bytes from which sectors are used.
"""

import struct

SECTOR = 512
_FREE, _END, _FAT, _NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF


def write(streams: dict[str, bytes]) -> bytes:
    """A compound file with these streams under its root, at most 3 of them and together under 50 KB."""
    bodies = {name: body.ljust(4096, b"\0") for name, body in streams.items()}
    chains: list[int] = [_FAT, _END]  # sector 0 is the table itself, sector 1 the directory.
    starts, content = {}, b""
    for name, body in bodies.items():
        count = -(-len(body) // SECTOR)
        starts[name] = len(chains)
        chains += [starts[name] + i + 1 for i in range(count - 1)] + [_END]
        content += body.ljust(count * SECTOR, b"\0")
    if len(chains) > SECTOR // 4 or len(bodies) > 3:
        raise ValueError("the streams need more than one table sector")
    table = struct.pack(f"<{len(chains)}I", *chains).ljust(SECTOR, b"\xff")
    return _header() + table + _directory(bodies, starts) + content


def _header() -> bytes:
    head = bytes.fromhex("D0CF11E0A1B11AE1") + bytes(16)
    head += struct.pack("<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, _END, 0, _END, 0)
    return head + struct.pack("<I", 0) + b"\xff" * (108 * 4)


def _directory(bodies: dict[str, bytes], starts: dict[str, int]) -> bytes:
    names = sorted(bodies, key=lambda n: (len(n), n.upper()))
    entries = [_entry("Root Entry", 5, child=1, start=_END, size=0)]
    for place, name in enumerate(names, 1):
        after = place + 1 if place < len(names) else _NONE
        entries.append(_entry(name, 2, right=after, start=starts[name], size=len(bodies[name])))
    return b"".join(entries).ljust(SECTOR, b"\0")


def _entry(name: str, kind: int, *, right: int = _NONE, child: int = _NONE, start: int, size: int) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    head = text.ljust(64, b"\0") + struct.pack("<HBB", len(text), kind, 1)
    return head + struct.pack("<III36xIQ", _NONE, right, child, start, size)
