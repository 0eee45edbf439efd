"""diagnose(): everything that a person or a bug report should know, one fact a finding. Pure.

Findings come grouped by subject, from the system to llmfit's own files; what the probes said comes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmfit.advisor.diagnosis.findings import (
    NOTE,
    OK,
    PROBLEM,
    WARNING,
    DeviceFile,
    Finding,
    Folder,
    Package,
    Surroundings,
    Terminal,
)
from llmfit.advisor.diagnosis.machine import (
    cpu_findings,
    disk_findings,
    gpu_findings,
    ram_findings,
)
from llmfit.advisor.diagnosis.server import server_findings, server_problem
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.units import format_gib

MAX_BROKEN = 10
VARIABLE_EFFECTS = {
    "CUDA_VISIBLE_DEVICES": "it decides which NVIDIA cards programs started here see",
    "NVIDIA_VISIBLE_DEVICES": "it decides which NVIDIA cards a container sees",
    "CUDA_DEVICE_ORDER": "it decides how CUDA counts the cards",
    "HIP_VISIBLE_DEVICES": "it decides which AMD cards programs started here see",
    "ROCR_VISIBLE_DEVICES": "it decides which AMD cards programs started here see",
    "HSA_OVERRIDE_GFX_VERSION": "ROCm takes the AMD card for another one",
    "GGML_VK_VISIBLE_DEVICES": "it decides which devices llama.cpp's Vulkan backend takes",
    "GGML_DISABLE_VULKAN": "llama.cpp leaves its Vulkan backend out",
    "GGML_CUDA_ENABLE_UNIFIED_MEMORY": "CUDA moves to RAM what does not fit the card, instead of failing",
    "ONEAPI_DEVICE_SELECTOR": "it decides which devices SYCL offers",
    "ZE_AFFINITY_MASK": "it decides which Intel devices programs started here see",
}
"""The variables that decide which devices programs see, and what each does. NVIDIA, CUDA Programming Guide
(environment variables) and Container Toolkit; AMD, ROCm documentation (GPU
isolation); llama.cpp docs/build.md, ggml-backend-reg.cpp and ggml-vulkan.cpp; Intel, documentation of oneAPI
DPC++ and Level Zero."""
_UNSEEN_FIX = (
    "If the sentence names no way: run llmfit again, then ask the driver's own tool (nvidia-smi, rocm-smi, "
    "lspci); until it answers, no plan counts on this GPU."
)


def diagnose(machine: Machine, surroundings: Surroundings) -> tuple[Finding, ...]:
    """Every finding about ``machine`` and what surrounds it, grouped by subject. Never raises."""
    return tuple(_findings(machine, surroundings))


def count_levels(findings: Sequence[Finding]) -> str:
    """``1 problem, 2 warnings.``"""
    problems = sum(finding.level == PROBLEM for finding in findings)
    warnings = sum(finding.level == WARNING for finding in findings)
    return f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}."


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _findings(machine: Machine, surroundings: Surroundings) -> Iterator[Finding]:
    yield Finding(OK, "llmfit", f"llmfit {surroundings.llmfit_version}.", "package")
    yield Finding(OK, "system", f"{surroundings.system}, {surroundings.architecture}.", "system")
    if surroundings.container is not None:
        text = f"this process runs in a container ({surroundings.container})."
        yield Finding(NOTE, "system", text, "system")
    yield Finding(OK, "Python", f"{surroundings.python}.", "Python")
    yield from map(_package, surroundings.packages)
    if surroundings.terminal is not None:
        yield from _terminal(surroundings.terminal)
    described_by = machine.described_by
    if described_by is not None:
        text = "described by an option: what follows of CPU, RAM and GPUs is not this computer."
        yield Finding(NOTE, "machine", text, described_by)
    source = surroundings.machine_source or described_by or "system"
    yield from cpu_findings(machine, "" if described_by else surroundings.architecture, source)
    size_source = surroundings.ram_source or source
    yield from ram_findings(machine.memory, size_source, source, described_by is None)
    for note in machine.unseen_gpus:
        yield Finding(PROBLEM, "GPU", note, "probes", _UNSEEN_FIX)
    yield from gpu_findings(machine, surroundings)
    if described_by is None:
        yield from _device_files(machine, surroundings)
        yield from _variables(surroundings)
    yield from server_findings(machine, surroundings)
    yield from _models(surroundings)
    yield from disk_findings(machine, source)
    yield from _own_files(surroundings)
    for note in dict.fromkeys(machine.notes):
        if note not in machine.unseen_gpus:
            yield Finding(NOTE, "probes", note, "probes")


def _package(package: Package) -> Finding:
    if package.version is not None:
        return Finding(OK, "package", f"{package.name} {package.version}.", "Python")
    if not package.missing:
        text = f"{package.name} is missing: llmfit does not work without it."
        return Finding(PROBLEM, "package", text, "Python", package.fix)
    return Finding(NOTE, "package", f"{package.name} is missing: {package.missing}.", "Python", package.fix)


def _terminal(terminal: Terminal) -> Iterator[Finding]:
    columns, lines = terminal.columns, terminal.lines
    if columns is None or lines is None:
        yield Finding(NOTE, "terminal", "none: the app needs one.", "system")
    elif columns < terminal.min_columns or lines < terminal.min_lines:
        needed = f"{terminal.min_columns} x {terminal.min_lines}"
        text = f"{columns} x {lines} characters, the app needs {needed} or more."
        yield Finding(WARNING, "terminal", text, "system", "Make the window larger.")
    else:
        yield Finding(OK, "terminal", f"{columns} x {lines} characters.", "system")
    if terminal.encoding.lower().replace("-", "") != "utf8":
        text = f"text is written as {terminal.encoding}: frames and bars become plain letters."
        yield Finding(WARNING, "terminal", text, "locale", "Set LANG=C.UTF-8, or your language with .UTF-8.")
    else:
        yield Finding(OK, "terminal", "text is written as UTF-8.", "locale")
    if terminal.kind in ("", "dumb") and columns is not None:
        text = f"TERM is {terminal.kind or 'not set'}: the app cannot move the cursor."
        yield Finding(WARNING, "terminal", text, "TERM", "Set TERM as your terminal's manual says.")
    elif terminal.kind:
        colours = {0: "no colours", 2**24: "16.7 million colours"}.get(
            terminal.colours, f"{terminal.colours} colours"
        )
        yield Finding(OK, "terminal", f"TERM is {terminal.kind}, {colours}.", "TERM")


def _device_files(machine: Machine, surroundings: Surroundings) -> Iterator[Finding]:
    closed = [file for file in surroundings.device_files if not file.is_accessible]
    yield from map(_closed_file, closed)
    through_dri = any(gpu.vendor in ("amd", "intel") for gpu in machine.gpus)
    has_dri = any("/dri/" in file.path for file in surroundings.device_files)
    if through_dri and not has_dri and machine.os == "linux":
        text = "there is no /dev/dri here, so programs cannot reach the GPU."
        fix = "Start the container with --device /dev/dri, for ROCm also with --device /dev/kfd."
        yield Finding(WARNING, "GPU", text, "/dev", fix if surroundings.container else None)


def _closed_file(file: DeviceFile) -> Finding:
    group = f": it belongs to the group {file.group}" if file.group else ""
    fix = "Ask whoever runs this machine."
    if file.group in ("render", "video"):
        fix = f"sudo usermod -aG {file.group} $USER, then log in again."
    return Finding(WARNING, "GPU", f"this user may not open {file.path}{group}.", "/dev", fix)


def _variables(surroundings: Surroundings) -> Iterator[Finding]:
    for name, value in surroundings.variables.items():
        effect = VARIABLE_EFFECTS.get(name)
        text = f"{name}={value}" + (f": {effect}." if effect else " is set.")
        yield Finding(NOTE, "environment", text, "environment")
    if surroundings.option_variables:
        names = ", ".join(surroundings.option_variables)
        text = f"llama-server takes options that a command does not name from {names}."
        fix = "Unset them if llama-server should do only what the command says."
        yield Finding(WARNING, "environment", text, "environment", fix)


def _models(surroundings: Surroundings) -> Iterator[Finding]:
    models = surroundings.models
    if models is None:
        return
    if models.count:
        text = f"{_counted(models.count, 'GGUF model')}, {format_gib(models.total_bytes)}."
        yield Finding(OK, "models", text, "files")
    else:
        fix = "If there are some, name their folder in model_folders of llmfit's config.toml."
        yield Finding(NOTE, "models", "no GGUF model was found on this computer.", "files", fix)
    fix = "Download it again, or delete it."
    for broken in models.broken[:MAX_BROKEN]:
        yield Finding(WARNING, "models", f"{broken.rstrip('.')}.", "files", fix)
    if len(models.broken) > MAX_BROKEN:
        text = f"{len(models.broken) - MAX_BROKEN} more files cannot be used."
        yield Finding(WARNING, "models", text, "files", "llmfit models lists them.")
    for note in models.notes:
        yield Finding(NOTE, "models", note, "files")


def _own_files(surroundings: Surroundings) -> Iterator[Finding]:
    for problem in surroundings.config_problems:
        yield Finding(WARNING, "configuration", problem, "config.toml", "Correct the file.")
    if surroundings.config_path and not surroundings.config_problems:
        yield Finding(OK, "configuration", f"{surroundings.config_path}.", "config.toml")
    for problem in surroundings.catalog_problems:
        fix = "Correct or remove the row."
        yield Finding(WARNING, "catalogue", f"{problem.rstrip('.')}.", "catalogue folder", fix)
    for folder in surroundings.folders:
        yield _folder(folder)


def _folder(folder: Folder) -> Finding:
    text = f"{folder.path} ({folder.purpose})"
    if folder.problem is None:
        return Finding(OK, "files", f"{text} can be written.", "files")
    fix = "Allow this user to write there, or name another folder (docs/cli.md)."
    return Finding(WARNING, "files", f"{text} cannot be written: {folder.problem}.", "files", fix)


__all__ = ["VARIABLE_EFFECTS", "Finding", "Surroundings", "count_levels", "diagnose", "server_problem"]
