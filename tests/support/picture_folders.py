"""What lies in folders beside pictures: pipes, links without an end, devices; and names in any script."""

import os
import socket
from pathlib import Path


def no_files(folder: Path) -> dict[str, str]:
    """What has a picture's name and is no file; how each has to be reported."""
    (folder / ".away").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    os.mkfifo(folder / ".away" / "pipe")
    (folder / "linked-pipe.jpg").symlink_to(folder / ".away" / "pipe")
    (folder / "zeros.jpg").symlink_to("/dev/zero")
    (folder / "null.jpg").symlink_to("/dev/null")
    (folder / "itself.jpg").symlink_to(folder / "itself.jpg")
    (folder / "one.jpg").symlink_to("other.jpg")
    (folder / "other.jpg").symlink_to("one.jpg")
    (folder / "nowhere.jpg").symlink_to("lost.jpg")
    (folder / "file.txt").write_text("text")
    (folder / "below.jpg").symlink_to("file.txt/below.jpg")
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket has few letters
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket.jpg")
    finally:
        os.chdir(here)
    return {
        "pipe.jpg": "a pipe, not a picture", "linked-pipe.jpg": "a pipe, not a picture",
        "zeros.jpg": "a device, not a picture", "null.jpg": "a device, not a picture",
        "itself.jpg": "too many levels of symbolic links", "one.jpg": "too many levels of symbolic links",
        "other.jpg": "too many levels of symbolic links", "nowhere.jpg": "no such file",
        "file.txt": "not a picture", "below.jpg": "not a directory", "socket.jpg": "a socket, not a picture",
    }  # fmt: skip


SCRIPTS = ("über", "naïve façade", "кот", "猫", "ねこ", "고양이", "قط", "חתול", "แมว", "बिल्ली", "🐈‍⬛", "a\u0301",
           "--help", "$(x)", "a'b\"c", "*?", "%s{0}", "  ", "x" * 250, "CON", "a\\b")  # fmt: skip
SHOWN = {b"two\nlines.png": "two\\nlines.png", b"\x1b[31mred\x07.png": "\\x1b[31mred\\x07.png",
         b"\xff\xfe.png": "\\xff\\xfe.png", b"\r.png": "\\r.png", "a\u2028b\x85c.png".encode(): "a\\u2028b\\x85c.png"}


def strange_names(folder: Path, data: bytes) -> set[str]:
    """Files of any name; what they are reported as."""
    for name in SCRIPTS:
        (folder / name).write_bytes(data)
    for name in SHOWN:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(data)
    return {*SCRIPTS, *SHOWN.values()}
