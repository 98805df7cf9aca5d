"""Files that are nearly right: real ones, changed at random in the ways in which a hostile one would be.

A change is drawn from a `random.Random` alone, so that a reader's name and a number stand for one input for ever.
"""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

Files = dict[str, bytes]
"""The files of one input, by their names in a folder."""


def contents(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


class Raw(str):
    """A piece of JSON that stands in the file as it is."""


class Pairs(list):
    """An object as (key, value) pairs, of which two may have one key."""


DEEP = 100_000
HOSTILE = (
    None, True, False, 0, 1, -1, 2, 3, 7, 0.5, -0.0, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64, 1e308, -1e-320,
    Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e999"), Raw("-1e999"), Raw("9" * 5000), Raw("9" * 400),
    Raw("[" * DEEP), Raw("[" * DEEP + "]" * DEEP), Raw('{"a":' * DEEP), Raw("[" * 300 + "]" * 300), Raw(r'"\ud800"'),
    Raw(r'"\udfff\ud800"'), Raw("'a'"), Raw(""), Raw("0x10"), Raw("[1,]"), Raw("01"), Raw(r'"\u0000"'), "", "a", "\0",
    "../../../etc/passwd", "/etc/passwd", "é" * 300, "x" * 5000, "\x1b[2J", "a\nb\r\nc", "<script>alert(1)</script>",
    "1", "nan", "cls", "F32", "os.system", [], [[]], [None], [0], [-1], [1, 2, 3], ["a", "b"], {}, {"a": {}},
    {"": None}, [[1, 2]], [2**40, 2**40], [0, 2**62], [-8, 8], "__reduce__", "__class__",
)  # fmt: skip
"""Values that a reader may not expect where it finds them."""
WORDS = (b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\xff" * 7 + b"\x7f", b"\0\0\0\x80", b"PK\x03\x04", b"{", b"}",
         b"\n", b"\x80\x02", b"cos\nsystem\n", b"\xef\xbb\xbf", (2**40).to_bytes(8, "little"))  # fmt: skip


def mutated(files: Files, draw: Random) -> Files:
    """Some of the files of an input, changed once or more."""
    changed = dict(files)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        name = draw.choice(sorted(changed))
        changed[name] = _file(name, changed[name], draw)
    if draw.random() < 0.02:
        del changed[draw.choice(sorted(changed))]
    return changed


def _file(name: str, data: bytes, draw: Random) -> bytes:
    end = name.rpartition(".")[2]
    if draw.random() < 0.7:
        if end == "json":
            return mutated_json(data, draw)
        if end == "safetensors":
            return mutated_safetensors(data, draw)
        if end == "pt":
            return mutated_torch(data, draw)
    return mutated_bytes(data, draw)


def mutated_bytes(data: bytes, draw: Random) -> bytes:
    """Bits flipped, pieces dropped, doubled, swapped for others, the end cut off or moved on."""
    if not data:
        return draw.choice(WORDS)
    some, at = bytearray(data), draw.randrange(len(data))
    length = min(draw.choice((1, 2, 4, 8, 64, 512)), len(data) - at)
    kind = draw.randrange(8)
    if kind <= 2:
        for _ in range(draw.choice((1, 1, 3, 10))):
            some[draw.randrange(len(some))] ^= 1 << draw.randrange(8)
    elif kind == 3:
        del some[draw.choice((0, at, at, len(some) - 1)) :]
    elif kind == 4:
        del some[at : at + length]
    elif kind == 5:
        some[at:at] = some[at : at + length] * draw.choice((1, 1, 2, 50))
    elif kind == 6:
        word = draw.choice(WORDS)
        some[at : at + (len(word) if draw.random() < 0.8 else 0)] = word
    else:
        some += draw.choice((b"\0", b"\0" * 1000, bytes(draw.randrange(256) for _ in range(20)), bytes(some)))
    return bytes(some)


def mutated_json(data: bytes, draw: Random) -> bytes:
    """A value put in the place of another one, a key lost, renamed, or there twice."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return mutated_bytes(data, draw)
    return _json(changed_value(value, draw)).encode("utf-8", "surrogatepass")


def changed_value(value: Any, draw: Random) -> Any:
    """A JSON value with one place in it changed; the places near the top are drawn more often."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        kind = draw.randrange(10)
        if kind == 0:
            return {name: one for name, one in value.items() if name != key}
        if kind == 1:
            return {name if name != key else draw.choice(("", "a", "\0", "__class__", name.upper(), name * 2)): one
                    for name, one in value.items()}  # fmt: skip
        if kind == 2:
            return Pairs([*value.items(), (key, draw.choice(HOSTILE))])
        return {**value, key: changed_value(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        some, at = list(value), draw.randrange(len(value))
        kind = draw.randrange(5)
        if kind == 0:
            del some[at]
        elif kind == 1:
            some.insert(at, draw.choice(HOSTILE))
        else:
            some[at] = changed_value(some[at], draw)
        return some
    return draw.choice(HOSTILE)


def _json(value: Any) -> str:
    if isinstance(value, Raw):
        return value
    if isinstance(value, Pairs | dict):
        pairs = value if isinstance(value, Pairs) else value.items()
        return "{" + ", ".join(f"{_json(str(key))}: {_json(one)}" for key, one in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def mutated_safetensors(data: bytes, draw: Random) -> bytes:
    """The header changed as a value, or said to be of another length."""
    length = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + length], data[8 + length :]
    if draw.random() < 0.2:
        lie = draw.choice((0, 1, 7, length - 1, length + 1, len(data), 2**31, 2**40, 2**62, 2**63, 2**64 - 1))
        return (lie % 2**64).to_bytes(8, "little") + header + body
    try:
        tensors = json.loads(header)
        name = draw.choice([one for one in tensors if one != "__metadata__"])
    except (ValueError, IndexError, TypeError, RecursionError):
        return mutated_bytes(data, draw)
    if not isinstance(tensors, dict):
        return mutated_bytes(data, draw)
    if draw.random() < 0.5 and isinstance(facts := tensors[name], dict):
        places = [one["data_offsets"] for one in tensors.values() if isinstance(one, dict) and "data_offsets" in one]
        tensors[name] = facts | draw.choice((
            {"dtype": draw.choice(("F64", "F16", "BF16", "I8", "U8", "BOOL", "C64", "F8_E4M3", "I64", "F4", "X", 3))},
            {"shape": draw.choice(([2**40, 2**40], [2**63], [-1], [-2, -3], [0], [], [1] * 70, [2**32, 2**32],
                                   [0, 2**62], ["6"], [6.0], 6, None))},
            {"data_offsets": draw.choice(([0, 2**63], [-4, 0], [8, 0], [0, 0], [0, len(body) * 2], [0], [0, 4, 8],
                                          [2**64, 2**64], ["0", "4"], [0.0, 4.0], None))},
            {"data_offsets": draw.choice(places or [None])},
        ))  # fmt: skip
    else:
        tensors = changed_value(tensors, draw)
    told = _json(tensors).encode("utf-8", "surrogatepass")
    return len(told).to_bytes(8, "little") + told + body


def mutated_torch(data: bytes, draw: Random) -> bytes:
    """A file within torch's zip changed, most often the pickle that says what its tensors are."""
    start = data.find(b"PK\x03\x04")  # saev writes a line before it
    try:
        with zipfile.ZipFile(io.BytesIO(data[start:])) as archive:
            inside = {info.filename: archive.read(info) for info in archive.infolist()}
        pickles = [name for name in inside if name.endswith("data.pkl")]
        name = draw.choice(pickles) if draw.random() < 0.8 else draw.choice(sorted(inside))
    except Exception:  # changed before, so that it is no zip any more
        return mutated_bytes(data, draw)
    if start and draw.random() < 0.5:
        return mutated_json(data[:start].rstrip(b"\n"), draw) + b"\n" + data[start:]
    inside[name] = mutated_pickle(inside[name], draw) if name in pickles else mutated_bytes(inside[name], draw)
    return data[:start] + zipped(inside, draw.choice((zipfile.ZIP_STORED,) * 4 + (zipfile.ZIP_DEFLATED,)))


def mutated_pickle(data: bytes, draw: Random) -> bytes:
    """Other numbers for sizes and strides, another callable for the one that builds tensors, or other bytes."""
    kind = draw.randrange(6)
    if kind == 0:
        names = (b"cos\nsystem", b"cposix\nsystem", b"cbuiltins\nexec", b"cbuiltins\neval", b"csubprocess\nPopen",
                 b"ctorch\nload", b"ctorch.serialization\nload", b"cpickle\nloads", b"ccollections\nCounter",
                 b"ctorch\nDoubleStorage", b"ctorch._utils\n_rebuild_parameter", b"cbuiltins\nbytearray")  # fmt: skip
        known = [one for one in (b"ctorch._utils\n_rebuild_tensor_v2", b"ctorch\nFloatStorage",
                                 b"ccollections\nOrderedDict") if one in data]  # fmt: skip
        return data.replace(draw.choice(known), draw.choice(names), draw.choice((1, -1))) if known else data
    places = [at for at in range(len(data) - 1) if data[at : at + 1] in (b"K", b"M", b"J")]
    if kind <= 3 and places:
        at, size = draw.choice(places or [None]), {b"K": 1, b"M": 2, b"J": 4}
        end = at + 1 + size[data[at : at + 1]]
        number = draw.choice((0, 1, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63))
        told = b"\x8a\x09" + number.to_bytes(9, "little")  # LONG1 of nine bytes
        return data[:at] + told + data[end:]
    return mutated_bytes(data, draw)


def zipped(inside: Files, how: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, data in inside.items():
            archive.writestr(zipfile.ZipInfo(name), data, how)
    return file.getvalue()


def drawing(seeds: list[Files], reader: str, change: Callable[[Files, Random], Files] = mutated) -> Callable:
    """From a number to an input: a seed, changed."""

    def made(number: int) -> Files:
        draw = Random(f"{reader} {number}")
        return change(draw.choice(seeds), draw)

    return made
