"""What a JPEG 2000 says of its channels, where Pillow takes the last of two or four for opacity."""

import struct
from pathlib import Path

_HEAD = 65_536
_DEFINITION = b"cdef"
"""The box that tells what each channel is (ISO/IEC 15444-1, I.5.3.6)."""
_OPACITY = (1, 2)


def may_be_transparent(path: Path) -> bool:
    """Whether the last channel may be opacity: unless it is said to be something else. Raises struct.error."""
    with path.open("rb") as file:
        _, found, definition = file.read(_HEAD).partition(_DEFINITION)
    if not found:
        return True
    (count,) = struct.unpack_from(">H", definition)
    kinds = {channel: kind for channel, kind, _ in struct.iter_unpack(">HHH", definition[2 : 2 + 6 * count])}
    return kinds[max(kinds)] in _OPACITY
