"""Random damage to photos, the same for the same seed."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

CRITICAL_NUMBERS = [
    *(0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFF),
]


def with_checksums(data: bytes) -> bytes:
    """Correct the checksums of a PNG, as far as its chunks can be found."""
    fixed, place = bytearray(data), 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


Mutation = Callable[[bytes, list[bytes], random.Random], bytes]


def _cut(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def _flip(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice([1, 2, 5, 20]) if data else 0):
        changed[_place(data, dice)] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _number(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Replace a size, count or offset by one that programs often mistake."""
    length = dice.choice([1, 2, 4])
    value = dice.choice(CRITICAL_NUMBERS) % 256**length
    place = _place(data, dice)
    new = value.to_bytes(length, dice.choice(["big", "little"]))
    return data[:place] + new + data[place + length :]


def _overwrite(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    place, length = _place(data, dice), dice.randrange(1, 64)
    new = dice.choice([bytes(length), b"\xff" * length, dice.randbytes(length)])
    return data[:place] + new + data[place + length :]


def _remove(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    place = _place(data, dice)
    return data[:place] + data[place + dice.randrange(1, 200) :]


def _repeat(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    place, end = sorted((_place(data, dice), _place(data, dice)))
    return data[:end] + data[place:end] * dice.randrange(1, 4) + data[end:]


def _splice(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Join the beginning of one file and the end of another, often of the same format."""
    alike = [other for other in others if other[:4] == data[:4]]
    other = dice.choice(alike if alike and dice.random() < 0.7 else others)
    return data[: _place(data, dice)] + other[_place(other, dice) :]


def _place(data: bytes, dice: random.Random) -> int:
    """Choose a place, half of the time in the first bytes, where headers are."""
    end = min(len(data), 200) if dice.random() < 0.5 else len(data)
    return dice.randrange(max(1, end))


MUTATIONS: list[Mutation] = [
    _cut,
    _flip,
    _flip,
    _number,
    _number,
    _overwrite,
    _remove,
    _repeat,
    _splice,
]
