"""The API on the wire, without any I/O: bytes and values in, bytes and values out."""
