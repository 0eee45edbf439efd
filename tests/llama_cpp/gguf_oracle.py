"""Reads GGUF headers with llama.cpp's own reader: a process of its own, for it may abort on a bad file.

usage: gguf_oracle.py LIBGGML_BASE   then one path a line on standard input, one line of JSON for each: null
where llama.cpp refuses the file, else version, alignment, data offset, keys with values, tensors with bytes.
"""

from __future__ import annotations

import ctypes
import json
import sys

UINT32, STRING, ARRAY = 4, 8, 9


class _Parameters(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p))


def load(library: str) -> ctypes.CDLL:
    ggml = ctypes.CDLL(library)
    ggml.gguf_init_from_file.argtypes = (ctypes.c_char_p, _Parameters)
    ggml.gguf_init_from_file.restype = ctypes.c_void_p
    of_file = {
        "version": ctypes.c_uint32, "alignment": ctypes.c_size_t, "data_offset": ctypes.c_size_t,
        "n_kv": ctypes.c_int64, "n_tensors": ctypes.c_int64,
    }  # fmt: skip
    of_entry = {
        "key": ctypes.c_char_p, "kv_type": ctypes.c_int, "arr_n": ctypes.c_size_t, "val_u32": ctypes.c_uint32,
        "val_str": ctypes.c_char_p, "tensor_name": ctypes.c_char_p, "tensor_size": ctypes.c_size_t,
    }  # fmt: skip
    for name, result in {**of_file, **of_entry}.items():
        function = getattr(ggml, f"gguf_get_{name}")
        function.restype = result
        function.argtypes = (ctypes.c_void_p,) if name in of_file else (ctypes.c_void_p, ctypes.c_int64)
    ggml.gguf_free.argtypes = (ctypes.c_void_p,)
    return ggml


def value(ggml: ctypes.CDLL, context: int, index: int) -> object:
    """A number, a text or the length of an array; None for types that are not compared."""
    kind = ggml.gguf_get_kv_type(context, index)
    if kind == UINT32:
        return ggml.gguf_get_val_u32(context, index)
    if kind == STRING:
        return ggml.gguf_get_val_str(context, index).decode("utf-8", "backslashreplace")
    return [ggml.gguf_get_arr_n(context, index)] if kind == ARRAY else None


def describe(ggml: ctypes.CDLL, path: str) -> object:
    context = ggml.gguf_init_from_file(path.encode(), _Parameters(True, None))
    if not context:
        return None
    keys = [
        (ggml.gguf_get_key(context, index).decode("utf-8", "backslashreplace"), value(ggml, context, index))
        for index in range(ggml.gguf_get_n_kv(context))
    ]
    tensors = [
        (
            ggml.gguf_get_tensor_name(context, index).decode("utf-8", "backslashreplace"),
            ggml.gguf_get_tensor_size(context, index),
        )
        for index in range(ggml.gguf_get_n_tensors(context))
    ]
    numbers = [getattr(ggml, f"gguf_get_{name}")(context) for name in ("version", "alignment", "data_offset")]
    ggml.gguf_free(context)
    return [*numbers, keys, tensors]


if __name__ == "__main__":
    library = load(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(describe(library, line.rstrip("\n"))), flush=True)
