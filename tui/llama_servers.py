"""Where the user's settings meet the llama-servers of this computer: found, asked, and one of them taken."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from llmfit.advisor.folders import cache_folder, home_folder
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.server.answers import ServerDevice
from llmfit.advisor.server.ask import ASK_TIMEOUT_S, ask_llama_servers, surroundings_of
from llmfit.advisor.server.backend import with_server_backends
from llmfit.advisor.server.cache import FILE_NAME, ServerCache
from llmfit.advisor.server.find import choose_server, configured_servers, find_llama_servers
from llmfit.tui.config import user_config

ServerDevices = Mapping[str, tuple[ServerDevice, ...]]
"""Devices in full by the path of the llama-server that offers them."""
UNSEEN_TIMEOUT_S = 3.0
"""Where a GPU could not be read. A driver that keeps the probes waiting keeps a llama-server waiting as well,
and both time-outs are waited for one after the other."""


def with_llama_servers(machine: Machine) -> Machine:
    """``machine``, this computer, with its llama-servers and the one that llmfit takes; GPUs planned for what
    that one offers. Answers of earlier runs are used where they are still true (advisor/server/cache.py)."""
    return _with(machine)[0]


def ask_afresh(machine: Machine) -> tuple[Machine, ServerDevices]:
    """The same with every llama-server asked now, and all devices that each of them offers. What they say is
    what later commands remember."""
    return _with(machine, afresh=True)


def asked_afresh(machine: Machine) -> Machine:
    """The machine of ``ask_afresh``."""
    return ask_afresh(machine)[0]


def _with(machine: Machine, afresh: bool = False) -> tuple[Machine, ServerDevices]:
    configured = user_config().llama_servers
    servers = find_llama_servers(configured, os.environ, home_folder())
    # After the probes: a CUDA build that lists its devices holds some VRAM on each card while it runs.
    # Asking --version earlier would save nothing: it is the list that waits for the driver.
    answers = ask_llama_servers(
        servers,
        timeout_s=UNSEEN_TIMEOUT_S if machine.unseen_gpus else ASK_TIMEOUT_S,
        cache=ServerCache(cache_folder() / FILE_NAME),
        surroundings_key=surroundings_of(machine, os.environ),
        has_gpu=bool(machine.gpus),
        afresh=afresh,
    )
    named = [str(path) for path in configured_servers(configured, os.environ)]
    found = tuple(answer.server for answer in answers)
    chosen = choose_server(found, named, bool(machine.gpus))
    machine = replace(machine, llama_server=chosen, llama_servers=found)
    devices = {answer.server.path: answer.devices for answer in answers}
    return with_server_backends(machine, devices.get(chosen.path, ()) if chosen else ()), devices
