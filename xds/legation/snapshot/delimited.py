"""The one corner of protobuf's wire format that bytes are put together with: length-delimited fields (wire type 2).

Source: protobuf's encoding reference. Rendering joins resources of it, the transport responses.
"""

from __future__ import annotations


def head(field: int, size: int) -> bytes:
    """The tag and the length of a field whose value has `size` bytes."""
    return _varint(field << 3 | 2) + _varint(size)


def delimited(field: int, value: bytes) -> bytes:
    """A whole field."""
    return head(field, len(value)) + value


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _SMALL[number]
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_SMALL = [bytes((number,)) for number in range(0x80)]
