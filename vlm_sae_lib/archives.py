"""Tar archives from elsewhere: no member, and nothing that is said of one, is larger than it can be.

A few kilobytes unpack to gigabytes. ``tarfile`` takes a member's size at its word, and reads a long name or a list of
attributes whole before anybody can look at it.
"""

import tarfile
from typing import Self

SAID = 2**20
"""Bytes of a member's name, link or attributes."""
ABOUT = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


class Bounded(tarfile.TarInfo):
    """For ``tarfile.open(…, tarinfo=Bounded)``. Raises ``tarfile.ReadError`` where what is said of a member has no end,
    or its size is below zero."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in ABOUT and info.size > SAID):
            raise tarfile.ReadError(f"a header of {info.size} bytes")
        return info


def check_size(member: tarfile.TarInfo, most: int) -> None:
    """Raises ``tarfile.ReadError`` for a member of more bytes; to be asked before it is read, and not earlier: its size
    may stand among its attributes."""
    if not 0 <= member.size <= most:
        raise tarfile.ReadError(f"a member of {member.size} bytes, where none has more than {most}")
