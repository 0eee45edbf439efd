"""What is right and wrong with the llama-servers of a machine. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from llmfit.advisor.diagnosis.findings import NOTE, OK, PROBLEM, WARNING, Finding, Surroundings
from llmfit.advisor.hardware.machine import LlamaServer, Machine
from llmfit.advisor.server.answers import LISTS_NO_GPU, ServerDevice
from llmfit.advisor.server.backend import SOURCE, same_card, title
from llmfit.advisor.units import format_gib

SUBJECT = "llama-server"
COMMANDS_BUILD = 11434
"""The build of llama.cpp whose options llmfit writes (recommend/command.py)."""
_BUILD_OPTIONS = {
    "nvidia": "-DGGML_CUDA=ON",
    "amd": "-DGGML_HIP=ON (or -DGGML_VULKAN=ON)",
    "intel": "-DGGML_SYCL=ON (or -DGGML_VULKAN=ON)",
    "apple": "-DGGML_METAL=ON",
}
"""llama.cpp, docs/build.md."""
_GET_ONE = "Install llama.cpp, or write llama_server = PATH into llmfit's config.toml."


def server_problem(machine: Machine) -> Finding | None:
    """What keeps the llama-server that llmfit takes from using the machine: it sees no GPU though there is
    one, or does not work. ``None`` where nothing does, and where it was not asked or looked for."""
    server = machine.llama_server
    if server is None or not _works(server):
        return _none_works(machine.llama_servers if server is None else (server,))
    if server.sees_a_gpu is not False or not machine.gpus:
        return None
    cards = _cards(machine)
    seeing = next((other for other in machine.llama_servers if other.sees_a_gpu), None)
    if server.problem == LISTS_NO_GPU:
        text = (
            f"The llama-server lists no GPU, but this machine has {cards}: it was built without one, or its "
            f"driver is missing. Every command would use the CPU alone ({server.path})."
        )
        return Finding(PROBLEM, SUBJECT, text, SOURCE, _use(seeing) or _driver_or_build(machine))
    if len(server.backends) > 1 or server.problem is not None:
        text = (
            f"The llama-server sees no GPU, but this machine has {cards}: every command would use the CPU "
            f"alone ({server.path}). {server.problem or ''}"
        ).rstrip()
        return Finding(PROBLEM, SUBJECT, text, SOURCE, _use(seeing) or "Check the driver of the GPU.")
    text = (
        f"The llama-server is a CPU-only build, but this machine has {cards}: every command would use the "
        f"CPU alone ({server.path})."
    )
    return Finding(PROBLEM, SUBJECT, text, SOURCE, _use(seeing) or _how_to_build(machine))


def _none_works(servers: Sequence[LlamaServer]) -> Finding | None:
    """``None`` where there is none, and where not all were asked."""
    if not servers or any(_works(server) or server.problem is None for server in servers):
        return None
    first = servers[0]
    what = "The llama-server does not work" if len(servers) == 1 else "No llama-server that was found works"
    text = f"{what}: {first.path}. {first.problem}"
    return Finding(PROBLEM, SUBJECT, text, SOURCE, _fix_of(first.problem or ""))


def _works(server: LlamaServer) -> bool:
    return server.version is not None or bool(server.backends)


def server_findings(machine: Machine, surroundings: Surroundings) -> Iterator[Finding]:
    """Every llama-server with what it offers, then what does not go together."""
    servers = machine.llama_servers or ((machine.llama_server,) if machine.llama_server else ())
    if not servers and machine.described_by is not None:
        yield Finding(NOTE, SUBJECT, "not looked for: the machine is described.", machine.described_by)
        return
    if not servers:
        text = "none was found: commands are shown, and cannot be run here."
        yield Finding(WARNING, SUBJECT, text, "files", _GET_ONE)
    trouble = server_problem(machine)
    if trouble is not None:
        yield trouble
    for server in servers:
        told = trouble is not None and server == (machine.llama_server or servers[0])
        yield _one(server, machine, surroundings, told)
    if machine.llama_server is not None:
        yield from _mismatches(machine, machine.llama_server, surroundings)
    if surroundings.has_embedded_server:
        text = (
            "the embedded one (xllamacpp) is installed: it serves on the CPU only, and no command of llmfit "
            "starts it yet."
        )
        yield Finding(NOTE, SUBJECT, text, "Python")


def _one(server: LlamaServer, machine: Machine, surroundings: Surroundings, told: bool) -> Finding:
    """``told``: its problem has a finding of its own already."""
    taken = " (llmfit takes this one)" if server == machine.llama_server else ""
    works = _works(server)
    text = f"{server.path}{taken}"
    if works:
        text += f": {server.version or 'version not known'}"
    if server.backends:
        text += f", {' + '.join(map(title, server.backends))}, sees {_devices(server, surroundings)}"
    elif works and server.problem is None:
        text += ", devices not asked"
    if server.problem is None or told:
        return Finding(NOTE if told else OK, SUBJECT, f"{text}.", SOURCE)
    if server.problem == LISTS_NO_GPU:  # it matters only where llmfit takes it, and that is told above
        return Finding(NOTE, SUBJECT, f"{text}. {server.problem}", SOURCE)
    return Finding(WARNING, SUBJECT, f"{text}. {server.problem}", SOURCE, _fix_of(server.problem))


def _devices(server: LlamaServer, surroundings: Surroundings) -> str:
    known = surroundings.server_devices.get(server.path, ())
    if known:
        return ", ".join(f"{device.id} ({_in_words(device)})" for device in known)
    return ", ".join(server.devices) or "no GPU"


def _in_words(device: ServerDevice) -> str:
    return device.name if device.total_bytes is None else f"{device.name}, {format_gib(device.total_bytes)}"


def _mismatches(machine: Machine, server: LlamaServer, surroundings: Surroundings) -> Iterator[Finding]:
    devices = surroundings.server_devices.get(server.path, ())
    if server.sees_a_gpu and machine.gpus:
        yield from _number_of_devices(machine, server)
        yield from _order(machine, devices)
        yield from _vulkan_for_nvidia(machine, server)
    if server.build is not None and server.build < COMMANDS_BUILD:
        yield Finding(
            WARNING,
            SUBJECT,
            f"build {server.build} is older than {COMMANDS_BUILD}, whose options llmfit writes: it may "
            "refuse some of them.",
            SOURCE,
            "Update llama.cpp.",
        )
    started = surroundings.path_server
    if started != server.path and server.version is not None and machine.described_by is None:
        what = f"starts {started}" if started else "is not found by a shell"
        yield Finding(
            NOTE,
            SUBJECT,
            f"the command llama-server {what}; llmfit takes {server.path}.",
            "PATH",
            f"Write {server.path} in commands, or put its folder first in PATH.",
        )


def _number_of_devices(machine: Machine, server: LlamaServer) -> Iterator[Finding]:
    """Slices of a card (MIG) are left out: how many of them CUDA shows a program depends on the driver."""
    cards = [gpu for gpu in machine.gpus if gpu.partition is None]
    kinds = Counter(device.rstrip("0123456789").lower() for device in server.devices)
    vulkan = kinds.pop("vulkan", 0)  # sees the cards of the others once more
    seen = max(vulkan, sum(kinds.values()))
    if seen < len(cards):
        yield Finding(
            WARNING,
            SUBJECT,
            f"it sees {seen} of the {len(cards)} GPUs of this machine ({', '.join(server.devices)}).",
            SOURCE,
            "Look for a variable such as CUDA_VISIBLE_DEVICES, and for a backend that it was built without.",
        )


def _order(machine: Machine, devices: Sequence[ServerDevice]) -> Iterator[Finding]:
    """Cards that llama-server counts otherwise: ``-ts`` and ``--device`` would mean other cards."""
    for backend in dict.fromkeys(gpu.backend for gpu in machine.gpus):
        gpus = [gpu for gpu in machine.gpus if gpu.backend == backend]
        named = [device for device in devices if device.backend == backend]
        for gpu, device in zip(gpus, named, strict=False):
            if same_card(gpu, device) is False:
                cuda = backend == "cuda" and any(same_card(gpu, other) for other in named)
                yield Finding(
                    WARNING,
                    SUBJECT,
                    f"it calls {device.name} {device.id}, where this list has {gpu.name}: commands that name "
                    "or split between cards would mean other ones.",
                    SOURCE,
                    "Set CUDA_DEVICE_ORDER=PCI_BUS_ID." if cuda else None,
                )
                return


def _vulkan_for_nvidia(machine: Machine, server: LlamaServer) -> Iterator[Finding]:
    if any(gpu.vendor == "nvidia" for gpu in machine.gpus) and "cuda" not in server.backends:
        yield Finding(
            NOTE,
            SUBJECT,
            f"it reaches the NVIDIA card through {title(server.backends[0])}, not CUDA: that works; llmfit's "
            "speeds do not tell the two apart.",
            SOURCE,
            f"A build with {_BUILD_OPTIONS['nvidia']} uses CUDA.",
        )


def _cards(machine: Machine) -> str:
    names = Counter(gpu.name for gpu in machine.gpus)
    return " and ".join(name if count == 1 else f"{count}x {name}" for name, count in names.items())


def _use(seeing: LlamaServer | None) -> str | None:
    if seeing is None:
        return None
    return f'{seeing.path} sees one: write llama_server = "{seeing.path}" into llmfit\'s config.toml.'


def _how_to_build(machine: Machine) -> str:
    options = dict.fromkeys(
        _BUILD_OPTIONS[gpu.vendor] for gpu in machine.gpus if gpu.vendor in _BUILD_OPTIONS
    )
    build = f"build llama.cpp with cmake {' '.join(options)}" if options else "build llama.cpp for its GPU"
    return f"Take a llama.cpp release for this GPU, or {build}."


def _driver_or_build(machine: Machine) -> str:
    how = _how_to_build(machine)
    return f"Check the driver of the GPU; if that works, {how[0].lower()}{how[1:]}"


def _fix_of(problem: str) -> str:
    if "shared library" in problem:
        return "Install the package that has this library, or take a build for this system."
    if "illegal instruction" in problem or "exec format" in problem or "newer system library" in problem:
        return "Take a build for this machine, or build llama.cpp here."
    if "not executable" in problem or "permission" in problem:
        return "Allow it to be executed: chmod +x."
    if "no such file" in problem.lower() or "not a regular file" in problem:
        return "Correct the path in llmfit's config.toml or in LLMFIT_LLAMA_SERVER."
    if "--list-devices" in problem:
        return "Update llama.cpp."
    if "could not be started" in problem or "sees no device" in problem:
        return "Check the driver of the GPU."
    return "Start it by hand with --version to see what it says."
