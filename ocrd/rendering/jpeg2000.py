"""What a JPEG 2000 says of its channels, where Pillow takes the last of two or four for opacity."""

import re
import struct
from pathlib import Path

_HEAD = 65_536
_DEFINITION, _BESIDE = re.compile(rb"....cdef..", re.DOTALL), 10
"""The box that tells what each channel is (ISO/IEC 15444-1, I.5.3.6), and its bytes beside six for each of them."""
_OPACITY = (1, 2)


def may_be_transparent(path: Path) -> bool:
    """Whether the last channel may be opacity: unless it is said to be something else."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for found in _DEFINITION.finditer(head):
        length, count = struct.unpack(">I4xH", found[0])
        channels = head[found.end() : found.end() + 6 * count]
        if count and length == _BESIDE + len(channels):  # else it is no box, but the same letters elsewhere
            _, kind = max((channel, kind) for channel, kind, _ in struct.iter_unpack(">HHH", channels))
            return kind in _OPACITY
    return True
