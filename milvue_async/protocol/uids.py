"""DICOM UIDs (PS3.5 section 9.1): validated, so that they are safe as path segments and names."""

from __future__ import annotations

import re

from milvue_async.errors import InvalidUIDError

__all__ = ["is_uid", "validate_uid"]

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_MAX_LENGTH = 64
_SHOWN = 80


def is_uid(value: object) -> bool:
    """Whether ``value`` is a str of at most 64 digits and dots, no component of it empty.

    Leading zeros in a component are let through: real archives hold such UIDs, and they are as
    safe in a path as any other.
    """
    return isinstance(value, str) and len(value) <= _MAX_LENGTH and bool(_UID.fullmatch(value))


def validate_uid(value: object, name: str = "UID") -> str:
    """Return ``value`` as a plain str, without the padding of the DICOM encoding.

    Args:
        value: A str, or a pydicom ``UID``; trailing NULs and spaces (PS3.5 section 6.2) go.
        name: The attribute, for the message: ``StudyInstanceUID`` and the like.

    Raises:
        InvalidUIDError: It is no UID: so ``../..`` never becomes a path, nor a file name.
    """
    text = str(value).rstrip("\0 ") if isinstance(value, str) else value
    if not is_uid(text):
        shown = repr(value)[:_SHOWN]
        msg = f"{name} {shown} is not a DICOM UID (1 to 64 digits and dots)"
        raise InvalidUIDError(msg)
    return str(text)
