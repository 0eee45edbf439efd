"""The CPU's part of a decode step: what bounds it, what slows it, and that it meets what people measured."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.speed.decode.host import Host, cache_bytes_per_s, host_terms, n_working_cores, usual_cores
from llmfit.advisor.speed.decode.host_constants import CPU_ONLY_RANGE, HOST, TYPE_GROUPS
from llmfit.advisor.speed.estimate import SpeedEstimate, estimate_speed
from llmfit.advisor.speed.reads import CacheReads, PlaceReads, Role, WeightReads
from llmfit.advisor.speed.terms import Cause
from llmfit.advisor.units import GB, GIB
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model

BITS = {"Q8_0": 8.5, "Q4_K": 4.5, "IQ4_XS": 4.25, "IQ3_S": 3.4375}
N_OPERATIONS = 550
N_PARAMETERS = 8e9
EIGHT_CORES = Cpu(None, 8, 16)


def computer(
    ram: int | None = 60 * GB,
    peak: int | None = None,
    source: str = "--ram-bandwidth",
    cpu: Cpu = EIGHT_CORES,
    gpus: tuple[Gpu, ...] = (),
) -> Machine:
    memory = Memory(128 * GIB, 128 * GIB, bandwidth_bytes_per_s=ram, bandwidth_source=source,
                    peak_bandwidth_bytes_per_s=peak)  # fmt: skip
    return Machine("linux", cpu, memory, gpus)


def card(bytes_per_s: int = 936 * GB) -> Gpu:
    return Gpu(0, "card", "nvidia", "cuda", vram_total_bytes=96 * GIB, vram_free_bytes=96 * GIB,
               bandwidth_bytes_per_s=bytes_per_s)  # fmt: skip


def host(machine: Machine) -> Host:
    found = Host.of(machine)
    assert found is not None
    return found


def reads(type_name: str = "Q4_K", role: Role = Role.DENSE, expert_only: int = 0) -> PlaceReads:
    n_bytes = N_PARAMETERS * BITS[type_name] / 8
    return PlaceReads(
        (WeightReads(type_name, role, n_bytes, N_PARAMETERS),),
        CacheReads(),
        32,
        32,
        expert_only,
        n_kernels=N_OPERATIONS,
    )


def seconds(of: PlaceReads, machine: Machine, alone: bool = True) -> float:
    return sum(term.time_s for term in host_terms(of, host(machine), alone))


def gb_per_s(type_name: str, machine: Machine) -> float:
    of = reads(type_name)
    return of.weight_bytes() / seconds(of, machine) / GB


@cache
def model(name: str, file_type: str) -> Model:
    return build_model(find_model(name), file_type)


def speed(name: str, file_type: str, machine: Machine, **launch: object) -> SpeedEstimate:
    found = model(name, file_type)
    devices = tuple(gpu.index for gpu in machine.gpus)
    settings = replace(LaunchSettings(4096, devices=devices), **launch)  # type: ignore[arg-type]
    estimate = estimate_speed(found, weight_table(found.shape, found.tensors), machine, settings)
    assert estimate is not None
    return estimate


def test_types_that_need_arithmetic_are_slower_per_byte() -> None:
    rates = [gb_per_s(name, computer()) for name in ("Q8_0", "Q4_K", "IQ4_XS", "IQ3_S")]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 1.5 * rates[-1], "i-quants take 1.5 to 2 times as long per byte as simple types"


def test_what_is_named_as_the_cause_is_what_takes_longer() -> None:
    causes = {
        name: next(term.cause for term in host_terms(reads(name), host(computer()), True)) for name in BITS
    }
    assert causes["Q8_0"] is Cause.SYSTEM_MEMORY
    assert causes["IQ3_S"] is Cause.COMPUTE


def test_every_group_of_types_has_its_cost() -> None:
    assert set(TYPE_GROUPS.values()) < set(HOST.s_per_parameter)


def test_fast_cores_work_alone() -> None:
    assert n_working_cores(Cpu(None, 10, 12, performance_cores=2)) == 2
    assert n_working_cores(Cpu(None, 6, 12)) == 6
    assert n_working_cores(Cpu(None, None, None)) is None


def test_cores_that_nobody_tells_follow_from_the_ram() -> None:
    of = {
        peak: usual_cores(Memory(None, None, bandwidth_bytes_per_s=peak * GB))
        for peak in (5, 26, 64, 460, 9000)
    }
    assert of == {5: 2, 26: 3, 64: 6, 460: 46, 9000: 64}


def test_few_cores_cannot_use_a_wide_ram() -> None:
    two, many = (computer(460 * GB, cpu=Cpu(None, n, n)) for n in (2, 64))
    assert gb_per_s("Q8_0", two) < 2 * HOST.core_bytes_per_s / GB
    assert gb_per_s("Q8_0", many) > 5 * gb_per_s("Q8_0", two)


def test_cpu_without_avx2_is_slower_and_one_that_tells_nothing_is_not() -> None:
    old, new, silent, arm = (
        seconds(reads(), computer(cpu=Cpu(None, 4, 8, features)))
        for features in (("sse4_2", "avx"), ("sse4_2", "avx", "avx2"), (), ("neon", "dotprod"))
    )
    assert old > 1.3 * new
    assert new == silent == arm


def test_further_numa_node_adds_little() -> None:
    one, two = (
        seconds(reads("Q8_0"), computer(150 * GB, cpu=Cpu(None, 44, 88, numa_nodes=n))) for n in (1, 2)
    )
    assert 1.2 * one < two < 2 * one


def test_measured_rate_is_not_cut_like_a_peak() -> None:
    """A CPU that reads 60 GB/s in a measurement decodes near that, whatever the peak of its modules."""
    peak = host(computer(90 * GB)).read_bytes_per_s
    measured = host(computer(60 * GB, source="measured 2026-11-22")).read_bytes_per_s
    both = host(computer(60 * GB, 90 * GB, "measured 2026-11-22")).read_bytes_per_s
    slow = host(computer(20 * GB, 90 * GB, "measured 2026-11-22")).read_bytes_per_s
    assert peak == pytest.approx(90 * GB * HOST.read_share)
    assert measured == pytest.approx(60 * GB * HOST.measured_share)
    assert both == min(peak, measured)
    assert slow == pytest.approx(20 * GB * HOST.measured_share)


def test_unknown_bandwidth_stays_unknown() -> None:
    assert Host.of(computer(None)) is None
    found = model("Qwen3-8B", "Q4_K_M")
    table = weight_table(found.shape, found.tensors)
    assert estimate_speed(found, table, computer(None), LaunchSettings(4096)) is None


def test_attention_on_the_cpu_is_slower_than_reading_and_shares_no_work_between_heads() -> None:
    few, many = (host(computer(cpu=Cpu(None, n, n))) for n in (2, 64))
    assert cache_bytes_per_s(few) < 0.2 * few.read_bytes_per_s
    assert cache_bytes_per_s(few, 8) == pytest.approx(cache_bytes_per_s(few, 4) / 2, rel=0.05)
    assert 0.5 * many.read_bytes_per_s < cache_bytes_per_s(many) < many.read_bytes_per_s


def test_a_layer_of_which_only_the_experts_are_in_ram_crosses_once_each_way() -> None:
    beside = {term.what: term.amount for term in host_terms(reads(expert_only=30), host(computer()), False)}
    alone = {term.what: term.amount for term in host_terms(reads(expert_only=30), host(computer()), True)}
    assert (beside["operations"], beside["crossings"]) == (N_OPERATIONS, 30)
    assert alone["operations"] == N_OPERATIONS
    assert "crossings" not in alone


@given(
    ram=st.integers(5, 900),
    more=st.integers(0, 900),
    n_cores=st.integers(1, 128),
    source=st.sampled_from(["--ram-bandwidth", "measured 2026-11-22", ""]),
    name=st.sampled_from(sorted(BITS)),
)
def test_more_is_never_slower_and_nothing_is_faster_than_the_ram(
    ram: int, more: int, n_cores: int, source: str, name: str
) -> None:
    small, large = (computer(n * GB, source=source, cpu=Cpu(None, n_cores, None)) for n in (ram, ram + more))
    wide = computer(ram * GB, source=source, cpu=Cpu(None, n_cores + 1, None))
    of = reads(name)
    assert seconds(of, large) <= seconds(of, small)
    assert seconds(of, wide) <= seconds(of, small)
    assert seconds(of, small) >= of.weight_bytes() / (ram * GB)
    assert cache_bytes_per_s(host(small)) <= cache_bytes_per_s(host(large)) <= (ram + more) * GB


@pytest.mark.parametrize(
    ("name", "file_type", "setting", "values"),
    [
        ("Qwen3-8B", "Q4_K_M", "gpu_layers", (37, 36, 30, 20, 10, 1)),
        ("Qwen3-30B-A3B", "Q4_K_M", "gpu_layers", (49, 48, 30, 10, 1)),
        ("Qwen3-30B-A3B", "Q8_0", "n_cpu_moe", (0, 1, 10, 30, 48)),
        ("gpt-oss-20b", "MXFP4_MOE", "n_cpu_moe", (0, 1, 10, 24)),
    ],
)
def test_more_in_ram_is_never_faster(
    name: str, file_type: str, setting: str, values: tuple[int, ...]
) -> None:
    machine = computer(gpus=(card(),))
    found = [speed(name, file_type, machine, **{setting: n}).decode_tok_s.expected for n in values]
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 * found[-1]


EPYC = computer(460_800_000_000, cpu=Cpu("EPYC 9554", 64, 128, ("avx2",)))
RYZEN = computer(89_600_000_000, cpu=Cpu("Ryzen 7 7840HS", 8, 16, ("avx2",)))
CORE = computer(25_600_000_000, cpu=Cpu("Core i5-3230M", 2, 4, ("avx", "f16c")))


@pytest.mark.parametrize(
    ("name", "file_type", "machine", "tok_s"),
    [
        ("phi-4", "Q4_K_M", EPYC, 28.74),
        ("phi-4", "Q8_0", EPYC, 19.194),
        ("Qwen3-8B", "Q4_K_M", RYZEN, 12.27),
        ("Llama-3.2-1B-Instruct", "Q4_K_M", RYZEN, 68.2),
        ("Qwen3-8B", "Q4_K_M", CORE, 2.2),
        ("Falcon3-1B-Instruct", "Q8_0", CORE, 9.93),
    ],
)
def test_measured_on_cpus_alone(name: str, file_type: str, machine: Machine, tok_s: float) -> None:
    """Rows of tests/data/speed_*.csv.gz: the range holds them, and the estimate is within a quarter."""
    estimate = speed(name, file_type, machine)
    assert estimate.decode_tok_s.low <= tok_s <= estimate.decode_tok_s.high
    assert estimate.decode_tok_s.expected == pytest.approx(tok_s, rel=0.25)
    assert estimate.decode_tok_s.low / estimate.decode_tok_s.expected == pytest.approx(CPU_ONLY_RANGE[0])
