"""Documents as JSON bytes. Whatever text a terminal or a server sent comes back exactly as it came."""

from __future__ import annotations

import json
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def encode(document: Any) -> bytes:
    """Return a document as JSON. Raises TypeError for values that JSON has no form for."""
    try:
        raw = _encoder.encode(document)
        raw.decode()
        return raw
    except (UnicodeError, msgspec.MsgspecError, OverflowError):  # lone surrogates, integers above 64 bits
        return json.dumps(msgspec.to_builtins(document), ensure_ascii=True, separators=(",", ":")).encode()


def decode(raw: bytes) -> Any:
    """Return the document of `encode`."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return json.loads(raw)
