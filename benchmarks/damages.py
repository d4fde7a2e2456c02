"""Ways in which a file is damaged, by chance or on purpose: what `benchmarks.hostile` does to content."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np


def damaged(content: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """`content` after one to three damages, which differ from file to file; not always another content."""
    for _ in range(rng.integers(1, 4)):
        content = DAMAGES[rng.integers(len(DAMAGES))](bytearray(content), others, rng)
    return bytes(content)


def place(content: bytearray, rng: np.random.Generator) -> int:
    """Somewhere in `content`; half of the time in its head, where formats say what follows."""
    return int(rng.integers(max(1, min(len(content), 256) if rng.random() < 0.5 else len(content))))


def flipped_bit(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytearray:
    """One bit."""
    if content:
        content[place(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def some_bytes(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytearray:
    """Random bytes over some that are there."""
    first = place(content, rng)
    content[first : first + int(rng.integers(1, 17))] = rng.bytes(int(rng.integers(1, 17)))
    return content


def cut(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytearray:
    """As after a power cut: the end is gone, or zeros."""
    first = place(content, rng)
    return content[:first] + bytes(len(content) - first if rng.random() < 0.3 else 0)


def longer(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytearray:
    """More at the end."""
    return content + rng.bytes(int(rng.integers(1, 64)))


def moved(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytearray:
    """A part twice, or left out."""
    first, second = sorted((place(content, rng), place(content, rng)))
    return content[:second] + content[first:] if rng.random() < 0.5 else content[:first] + content[second:]


def extreme_number(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytearray:
    """A binary number that counts and sizes are likely to go wrong at."""
    width, first = int(rng.choice([1, 2, 4, 8])), place(content, rng)
    value = (
        int(rng.choice([0, 1, 127, 128, 255])) if width == 1 else [0, 1, -1, 2**15, 2 ** (8 * width - 1) - 1][rng.integers(5)]
    )
    content[first : first + width] = (value % 2 ** (8 * width)).to_bytes(width, rng.choice(["little", "big"]))
    return content


def other_text(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytearray:
    """A word of a text, or of a header, in place of bytes that look like one."""
    words = [
        b"-1",
        b"0",
        b"1e999",
        b"NaN",
        b"9" * 30,
        b"null",
        b"[]",
        b"{}",
        b'""',
        b"true",
        b"\xff",
        b"\0",
        b"[" * 3000,
        b"..",
        b"'",
        b'"',
    ]
    digits = [i for i, byte in enumerate(content[:4096]) if 48 <= byte < 58]
    first = digits[rng.integers(len(digits))] if digits and rng.random() < 0.7 else place(content, rng)
    content[first : first + int(rng.integers(0, 3))] = words[rng.integers(len(words))]
    return content


def other_value(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytearray:
    """Of JSON: one value for another, with the rest as it was; else some bytes."""
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        return some_bytes(content, others, rng)
    values = [None, -1, 0, 1.5, 2**70, "", "\0", "../..", "x" * 300, [], {}, [[]], True, float("nan"), "lenet", "verbatim"]
    inside = [
        (owner, name) for owner in containers(whole) for name in (owner if isinstance(owner, dict) else range(len(owner)))
    ]
    if inside:
        owner, name = inside[rng.integers(len(inside))]
        if rng.random() < 0.2:
            del owner[name]
        else:
            owner[name] = values[rng.integers(len(values))]
    return bytearray(json.dumps(whole).encode())


def containers(value: Any) -> Iterator[dict | list]:
    """All dicts and lists in a JSON value."""
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from containers(part)


def another_file(content: bytearray, others: list[bytes], rng: np.random.Generator) -> bytearray:
    """A file of another kind under this name, whole or from the middle on; or nothing."""
    other = others[rng.integers(len(others))] if rng.random() < 0.8 else b""
    return bytearray(other) if rng.random() < 0.5 else content[: (first := place(content, rng))] + other[first:]


DAMAGES = [flipped_bit, flipped_bit, some_bytes, cut, longer, moved, extreme_number, other_text, other_value, another_file]
