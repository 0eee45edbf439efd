"""What macOS itself says: Metal's memory limit by the Objective-C runtime, kernel values by sysctlbyname.

In process and without a compiler: ctypes. The libraries come from outside, so that a test can stand in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

LoadLibrary = Callable[[str], ctypes.CDLL]

CORE_GRAPHICS = "/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics"
METAL = "/System/Library/Frameworks/Metal.framework/Metal"
OBJECTIVE_C = "/usr/lib/libobjc.A.dylib"
SYSTEM = "/usr/lib/libSystem.B.dylib"
_LONGEST_VALUE = 4096


def read_working_set_bytes(load: LoadLibrary = ctypes.CDLL) -> int | None:
    """``recommendedMaxWorkingSetSize`` of Metal's default device, ``None`` where there is none or the
    libraries cannot be used.

    llama.cpp takes it for the device's total and that less what its own process has allocated for free
    (ggml_metal_device_get_memory, ggml-metal-device.m); a limit set by ``sysctl iogpu.wired_limit_mb`` is in
    it.
    """
    try:
        # Without CoreGraphics a command-line program gets no device (MTLCreateSystemDefaultDevice, Apple).
        load(CORE_GRAPHICS)
        metal, runtime = load(METAL), load(OBJECTIVE_C)
        create = ctypes.CFUNCTYPE(ctypes.c_void_p)(("MTLCreateSystemDefaultDevice", metal))
        objects = _Objects(runtime)
        device = create()
    except (OSError, AttributeError, TypeError, ValueError):
        return None
    if not device:
        return None
    try:
        return objects.number(device, b"recommendedMaxWorkingSetSize") or None
    finally:
        objects.release(device)


class _Objects:
    """Messages to Objective-C objects. objc_msgSend takes the type of the method (arm64 needs it)."""

    def __init__(self, runtime: ctypes.CDLL) -> None:
        pointer, address = ctypes.c_void_p, ("objc_msgSend", runtime)
        self._selector = ctypes.CFUNCTYPE(pointer, ctypes.c_char_p)(("sel_registerName", runtime))
        self._send_number = ctypes.CFUNCTYPE(ctypes.c_uint64, pointer, pointer)(address)
        self._send_question = ctypes.CFUNCTYPE(ctypes.c_bool, pointer, pointer, pointer)(address)
        self._send = ctypes.CFUNCTYPE(None, pointer, pointer)(address)

    def number(self, target: int, name: bytes) -> int:
        """0 where the object has no such property: an unknown message would end the process."""
        return int(self._send_number(target, self._selector(name))) if self._knows(target, name) else 0

    def release(self, target: int) -> None:
        self._send(target, self._selector(b"release"))

    def _knows(self, target: int, name: bytes) -> bool:
        asked = self._selector(b"respondsToSelector:")
        return bool(self._send_question(target, asked, self._selector(name)))


def sysctl_reader(load: LoadLibrary = ctypes.CDLL) -> Callable[[str], str | None]:
    """A function that maps a sysctl key to its value as text, ``None`` where it is unknown.

    Keys in ``TEXT_KEYS`` are texts, all others integers of four or eight bytes (man 3 sysctlbyname).
    """
    try:
        library = load(SYSTEM)
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_size_t),
            ctypes.c_void_p,
            ctypes.c_size_t,
        )
        ask = kind(("sysctlbyname", library))
    except (OSError, AttributeError, TypeError, ValueError):
        return lambda key: None

    def read(key: str) -> str | None:
        buffer = ctypes.create_string_buffer(_LONGEST_VALUE)
        length = ctypes.c_size_t(_LONGEST_VALUE)
        if ask(key.encode(), buffer, ctypes.byref(length), None, 0) != 0 or length.value > _LONGEST_VALUE:
            return None
        value = buffer.raw[: length.value]
        if key in TEXT_KEYS:
            return value.partition(b"\0")[0].decode(errors="replace")
        return str(int.from_bytes(value, "little", signed=True)) if len(value) in (4, 8) else None

    return read


TEXT_KEYS = frozenset({"machdep.cpu.brand_string", "kern.osproductversion"})
