"""Where the catalogue meets the advisor: the questions that the command line and the app both ask."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from llmfit.advisor.errors import GgufError, UsageError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.model.quantization import TENSOR_TYPES, file_type
from llmfit.advisor.recommend.ladders import DEFAULT_FILE_TYPE, QUANT_LADDER

if TYPE_CHECKING:
    from llmfit.advisor.model.model import Model
    from llmfit.advisor.recommend.ranking import Recommendation
    from llmfit.advisor.recommend.request import Request
    from llmfit.advisor.speed.calibration.machine_speeds import MachineSpeeds
    from llmfit.tui.candidates import Narrowing

Values = Mapping[str, object]
AskServers = Callable[[Machine], Machine]
TRAINED_IN_IT = "The model was trained in it: no other type is better."


# ---------------------------------------------------------------- machines


def machine_from(values: Values, find_server: bool = False, ask_servers: AskServers | None = None) -> Machine:
    """The machine that options (or keys of a JSON line) describe; this one, probed now, without any.

    ``ask_servers`` adds the llama-servers of this computer in place of what earlier runs remember of them.
    Raises UsageError for names, sizes or files that cannot be understood.
    """
    from llmfit.advisor.hardware import simulate
    from llmfit.catalog.gpus import lookup_gpu

    ram, bandwidth, vram_free = (_size_text(values, key) for key in ("ram", "ram_bandwidth", "vram_free"))
    gpus, described = _gpu_specs(values.get("gpu")), values.get("machine")
    if described is not None:
        if gpus is not None:
            raise UsageError("--machine", "contradicts --gpu", "Give one of them.")
        return simulate.override_machine(_described_machine(described), ram, bandwidth, vram_free)
    if gpus is not None:
        return simulate.simulate_machine(gpus, ram, bandwidth, vram_free, lookup_gpu)
    return simulate.override_machine(_this_machine(find_server, ask_servers), ram, bandwidth, vram_free)


@dataclass(frozen=True, slots=True)
class KnownSpeeds:
    """A machine and what was measured on it; ``note`` says why that cannot be read, if so."""

    machine: Machine
    speeds: MachineSpeeds | None = None
    note: str | None = None


def with_speeds(machine: Machine) -> KnownSpeeds:
    """What was measured here belongs to no other machine: a described one has the formula alone."""
    if machine.described_by is not None:
        return KnownSpeeds(machine)
    from llmfit.tui.measured_speeds import speeds_here

    return KnownSpeeds(machine, *speeds_here(machine))


class MachineCache:
    """Machines by what describes them, so that a thousand lines about one machine probe it once."""

    def __init__(self) -> None:
        self._known: dict[str, KnownSpeeds] = {}

    def get(self, values: Values) -> KnownSpeeds:
        described = {key: values.get(key) for key in ("gpu", "ram", "ram_bandwidth", "vram_free", "machine")}
        key = json.dumps(described, sort_keys=True, default=str)
        if key not in self._known:
            self._known[key] = with_speeds(machine_from(values))
        return self._known[key]

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read of measurements, each once."""
        return tuple(dict.fromkeys(known.note for known in self._known.values() if known.note))


def _this_machine(find_server: bool, ask_servers: AskServers | None) -> Machine:
    from llmfit.advisor.hardware.bandwidth.remembered import with_remembered_bandwidth
    from llmfit.advisor.hardware.probe import detect_machine
    from llmfit.catalog.gpus import match_gpu, typical_bandwidth

    machine = with_remembered_bandwidth(detect_machine(match=match_gpu, estimate=typical_bandwidth))
    if find_server or machine.gpus:
        # The backend that is planned for, and the names of devices in a command, are those of the server.
        from llmfit.tui.llama_servers import with_llama_servers

        machine = (ask_servers or with_llama_servers)(machine)
    if find_server:
        from llmfit.tui.model_disks import with_model_disks

        machine = with_model_disks(machine)
    return machine


def _described_machine(described: object) -> Machine:
    from llmfit.advisor.hardware.machine_file import machine_from_json, read_machine

    if isinstance(described, str):
        return read_machine(Path(described))
    return machine_from_json(described)


def _gpu_specs(value: object) -> list[str] | None:
    if value is None:
        return None
    specs = [value] if isinstance(value, str) else value
    if not isinstance(specs, list) or not all(isinstance(spec, str) for spec in specs):
        raise UsageError(f"gpu {value!r}", "not a name or a list of names", 'Write "2x RTX 3090".')
    return specs


def _size_text(values: Values, key: str) -> str | None:
    """A size as the text it would be on the command line; numbers in JSON are bytes (or GB/s)."""
    value = values.get(key)
    if value is None or isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, bool) or not isinstance(part, int | float | str) for part in parts):
        raise UsageError(f"{key} {value!r}", "not a size", "Write 64GiB.")
    return ",".join(str(part) for part in parts)


# ---------------------------------------------------------------- models


def with_projector(request: Request) -> Request:
    """``request`` with the size of the projector's file that it names, if any.

    Raises UsageError for a file that is not there.
    """
    if request.mmproj_path is None:
        return request
    path = Path(request.mmproj_path).expanduser()
    if not path.is_file():
        raise UsageError(f"--mmproj {request.mmproj_path!r}", "no such file", "Name the projector's GGUF.")
    return replace(request, projector_bytes=path.stat().st_size)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model whose file type may still be open. ``build`` lays out any file type of it, where possible."""

    build: Callable[[str], Model] | None
    model: Model | None = None
    quant: str | None = None
    n_parameters: int = 0
    quant_reason: str = ""
    """Why there is no file type to choose, unless the user fixed it."""

    def sample(self) -> Model:
        """The model in the file type that is fixed, else the usual one: where there is no machine to choose
        it for, or where only what all types share counts."""
        return self.model or self._variants(self.quant or DEFAULT_FILE_TYPE)

    def best_for(self, machine: Machine, request: Request) -> Model:
        """The model itself, or the largest file type that stays on the GPUs (else the default one)."""
        from llmfit.advisor.recommend.judgement import FITS_GPU  # 50 ms that llmfit hardware does not need
        from llmfit.advisor.recommend.search import judge

        if self.model is not None or self.quant is not None:
            return self.sample()
        vram_bytes = sum(gpu.usable_bytes or 0 for gpu in machine.gpus)
        for quant in QUANT_LADDER:
            if self.n_parameters * bits_per_weight(quant) / 8 > vram_bytes:
                continue
            model = self._variants(quant)
            if judge(model, machine, request, remedies=False).verdict == FITS_GPU:
                return model
        return self.sample()

    @property
    def _variants(self) -> Callable[[str], Model]:
        if self.build is None:
            raise ValueError("a ModelChoice needs a model or a way to build one")
        return self.build


def model_choice(values: Values) -> ModelChoice:
    """The model that options (or keys of a JSON line) name. Raises UsageError, GgufError or NetworkError."""
    named, quant, spec = values.get("model"), values.get("quant"), values.get("spec")
    if spec is not None:
        if named is not None:
            raise UsageError("--spec", "contradicts MODEL", "Give one of them.")
        return _spec_choice(spec, quant)
    if named is not None and not isinstance(named, str):
        raise UsageError(f"MODEL {named!r}", "not a name", "Give a catalogue name, a path or hf:OWNER/REPO.")
    if named is None or not named.strip():
        raise UsageError("MODEL", "missing", "Give a catalogue name, a path to a GGUF or hf:OWNER/REPO.")
    if quant is not None and not isinstance(quant, str):
        raise UsageError(f"quant {quant!r}", "not a name", "Write Q4_K_M.")
    if named.startswith("hf:"):
        return ModelChoice(None, _hub_model(named, quant), quant_reason="It is the type of that file.")
    if looks_like_path(named):
        return ModelChoice(None, _file_model(named, quant), quant_reason="It is the type of this file.")
    return _catalog_choice(named, quant)


def looks_like_path(text: str) -> bool:
    """Whether MODEL means a file: it ends in .gguf, has a path separator that is one here, or exists."""
    path = Path(text)
    return (
        text.lower().endswith(".gguf") or text.startswith((".", "/", "~")) or path.is_file() or path.is_dir()
    )


def bits_per_weight(quant: str) -> float:
    """What a weight of a file type usually takes, to skip what cannot fit before it is laid out exactly."""
    from llmfit.catalog.loader import quantization_rows

    row = quantization_rows().get(quant)
    if row is None:
        return TENSOR_TYPES[file_type(quant).base_type].bits_per_weight
    bits = cast("Mapping[str, Mapping[str, float]]", row["bits_per_weight"])
    return bits["computed"]["median"]


def _hub_model(named: str, quant: str | None) -> Model:
    """A model on the hub: its header is read by byte ranges, nothing is downloaded."""
    from llmfit.catalog.build import model_from_header
    from llmfit.catalog.hub import read_hub_model

    found = read_hub_model(named if quant is None else f"{named}:{quant}")
    repo = found.reference.repo
    return model_from_header(found.header, repo, ("-hf", f"{repo}:{found.quant}"), source="hf")


def _file_model(named: str, quant: str | None) -> Model:
    """A GGUF on this disk; any part of a split one stands for all of it."""
    from llmfit.catalog.build import model_from_header
    from llmfit.catalog.sources import read_model_files

    if quant is not None:
        raise UsageError("--quant", "a file has the file type it has", "Leave it out.")
    files = read_model_files(Path(named).expanduser())
    first = files.paths[0]
    try:
        return model_from_header(files.header, first.name.removesuffix(".gguf"), ("-m", str(first)))
    except GgufError as error:
        raise GgufError(first.name, f"{error.what}: {error.why}", error.hint) from error


def _spec_choice(spec: object, quant: object) -> ModelChoice:
    """A model that exists only on paper: a JSON file of its architecture numbers, or the object itself."""
    from llmfit.catalog.spec import model_from_spec

    if not isinstance(spec, str | Mapping):
        raise UsageError("spec", "not an object or the name of a file", "See docs/catalogue.md.")
    if quant is not None and not isinstance(quant, str):
        raise UsageError(f"quant {quant!r}", "not a name", "Write Q4_K_M.")
    described = Path(spec).expanduser() if isinstance(spec, str) else spec
    name = None if quant is None else file_type(quant).name
    build = partial(model_from_spec, described)
    n_parameters = build(name or DEFAULT_FILE_TYPE).n_parameters
    return ModelChoice(build, None, name, n_parameters)


def _catalog_choice(named: str, quant: str | None) -> ModelChoice:
    from llmfit.catalog.build import build_model, native_quantization, only_quantization
    from llmfit.catalog.models import find_model

    entry = find_model(named)
    only = only_quantization(entry)
    if quant is not None and quant != only:
        quant = file_type(quant).name
    why = ""
    if quant is None and only is not None:
        is_native = only == native_quantization(entry.architecture)
        why = TRAINED_IN_IT if is_native else "It is the type of the file that was added."
    return ModelChoice(partial(build_model, entry), None, quant or only, entry.parameters.text, why)


# ---------------------------------------------------------------- recommendations


def recommendations_for(
    machine: Machine,
    use_case: str,
    context_tokens: int | None = None,
    min_tok_s: float | None = None,
    limit: int = 5,
    speeds: MachineSpeeds | None = None,
    narrowed: Narrowing | None = None,
    still_wanted: Callable[[], bool] | None = None,
) -> tuple[Recommendation, ...]:
    """The few models worth running on a machine, best first; ``speeds`` were measured on it.

    Raises UsageError where ``narrowed`` leaves nothing of the whole catalogue, NotWantedError before the next
    model where ``still_wanted()`` has become false.
    """
    from llmfit.advisor.recommend.ranking import Goal, recommend
    from llmfit.tui.candidates import ANY, candidates_for, file_type_loss

    goal = Goal(use_case, file_type_loss, bits_per_weight, context_tokens, min_tok_s, limit)
    candidates = tuple(candidates_for(use_case, narrowed or ANY))
    if still_wanted is not None:
        candidates = tuple(
            replace(candidate, build=partial(_while_wanted, still_wanted, candidate.build))
            for candidate in candidates
        )
    return recommend(candidates, machine, goal, speeds)


class NotWantedError(Exception):
    """Nobody waits for the answer any more."""


def _while_wanted(still_wanted: Callable[[], bool], build: Callable[[str], Model], quant: str) -> Model:
    if not still_wanted():
        raise NotWantedError
    return build(quant)
