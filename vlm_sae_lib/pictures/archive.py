"""A large archive read once from afar, as a stream: its checksum taken and its progress shown on the way.

Where the connection breaks, it is taken up again at the same byte, so that one hiccup in gigabytes costs nothing.
"""

import hashlib
import http.client
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.loading import first_sentence
from vlm_sae_lib.progress import progress

MEGABYTE = 10**6
PIECE = 2**20
TIMEOUT = 60  # seconds without a byte
PAUSES = (1, 4, 15)  # seconds before each new try
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
BROKEN = (OSError, http.client.HTTPException)


class Archive:
    """A file at ``url``, or at ``path`` if it lies there: the reading that ``tarfile`` needs, and the MD5 of all of it.

    Raises:
        UserError: the address cannot be reached or the connection breaks for good.
    """

    def __init__(self, url: str, path: Path, name: str) -> None:
        self.url, self.name = url, name
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.seen = 0
        self.is_local = path.is_file()
        self.where = str(path) if self.is_local else f"The download of {url}"
        self.stream: Any  # a file, or an answer over HTTP
        if self.is_local:
            self.stream = path.open("rb")
            self.size: int | None = path.stat().st_size
        else:
            try:
                self.stream = urllib.request.urlopen(url, timeout=TIMEOUT)
            except BROKEN as error:
                raise UserError(
                    f"{name} cannot be reached ({_reason(error)}): check the network, or download {url} where there is "
                    f"one and put it at {path}."
                ) from error
            length = self.stream.headers.get("Content-Length", "")
            self.size = int(length) if length.isdecimal() else None
            self.version = self.stream.headers.get("ETag") or self.stream.headers.get("Last-Modified")
        self.bar = progress((), name, total=self.size and self.size // MEGABYTE, unit="MB")

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.bar.close()

    def read(self, size: int) -> bytes:
        """Up to ``size`` more bytes, none at the end."""
        piece = self._read(size)
        self.md5.update(piece)
        self.seen += len(piece)
        self.bar.update(self.seen // MEGABYTE - self.bar.n)
        return piece

    def finish(self) -> None:
        """Read what lies behind the last thing that was looked at: it counts for the checksum."""
        while self.read(PIECE):
            pass

    def _read(self, size: int) -> bytes:
        for pause in (None, *PAUSES):
            try:
                if pause is not None:
                    self._take_up(pause)
                piece = self.stream.read(size)
                if piece or not self.size or self.seen == self.size:
                    return piece
                reason = "no more came"
            except BROKEN as error:
                reason = _reason(error)
            if self.is_local:
                break
        of_all = f" of {self.size / MEGABYTE:.0f}" if self.size else ""
        raise UserError(
            f"{self.where} broke off after {self.seen / MEGABYTE:.0f}{of_all} MB ({reason}): nothing of it was kept, "
            "so start again when the network is steady."
        )

    def _take_up(self, pause: float) -> None:
        """Connect anew, after a pause in seconds, at the byte that comes next."""
        self.stream.close()
        time.sleep(pause)
        asked = {"Range": f"bytes={self.seen}-"}
        if self.version and not self.version.startswith("W/"):  # a weak tag is none that a range may be asked by
            asked["If-Range"] = self.version
        self.stream = urllib.request.urlopen(urllib.request.Request(self.url, headers=asked), timeout=TIMEOUT)
        given = CONTENT_RANGE.fullmatch(self.stream.headers.get("Content-Range", ""))
        if self.stream.status != http.client.PARTIAL_CONTENT or not given or int(given[1]) != self.seen:
            raise OSError("the server cannot take it up where it broke")
        if self.size and given[2] != "*" and int(given[2]) != self.size:
            raise OSError("the file on the server is another one now")


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return first_sentence(reason if isinstance(reason, BaseException) else error)
