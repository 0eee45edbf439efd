"""CPU and RAM of the host, from file trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.host import probe as host
from llmfit.advisor.hardware.host.cpu_topology import read_numa_nodes
from llmfit.advisor.hardware.host.cpuinfo import FEATURE_FLAGS, read_cpuinfo
from llmfit.advisor.hardware.host.probe import HostProbe
from llmfit.advisor.hardware.small_files import parse_cpu_list
from llmfit.advisor.units import GIB, MIB

Tree = Callable[[Mapping[str, str | bytes]], Path]

INTEL = """\
processor\t: {cpu}
model name\t: Intel(R) Xeon(R)\x1b Platinum
physical id\t: 0
core id\t\t: {core}
flags\t\t: fpu avx avx2 fma f16c avx512f avx512cd avx512bw avx512dq avx512vl avx512_vnni amx_tile amx_int8
"""
ARM = """\
processor\t: 0
Features\t: fp asimd evtstrm aes asimdhp asimddp sve i8mm
CPU implementer\t: 0x41
"""


def test_cpuinfo_of_two_cores_with_two_threads_each(tree: Tree) -> None:
    text = "\n".join(INTEL.format(cpu=cpu, core=cpu % 2) for cpu in range(4))
    info = read_cpuinfo(tree({"proc/cpuinfo": text}))
    assert info.name == "Intel(R) Xeon(R) Platinum"
    assert info.features == ("avx", "avx2", "fma", "f16c", "avx512", "avx512_vnni", "amx_int8")
    assert len(set(info.core_of.values())) == 2


def test_avx512_needs_all_its_parts(tree: Tree) -> None:
    info = read_cpuinfo(tree({"proc/cpuinfo": "flags : avx2 avx512f avx512cd\n"}))
    assert info.features == ("avx2",)


def test_cpuinfo_of_arm(tree: Tree) -> None:
    info = read_cpuinfo(tree({"proc/cpuinfo": ARM}))
    assert (info.name, info.features) == (None, ("neon", "dotprod", "i8mm", "sve"))
    assert info.core_of == {}


def test_no_cpuinfo_is_unknown(tmp_path: Path) -> None:
    info = read_cpuinfo(tmp_path)
    assert (info.name, info.features, info.core_of) == (None, (), {})


def test_limits_bound_what_is_available(tree: Tree) -> None:
    root = tree(
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": str(300 * MIB),
            "sys/fs/cgroup/memory.current": str(100 * MIB),
        }
    )
    memory = HostProbe(root).read().memory
    assert memory is not None
    assert (memory.limit_bytes, memory.available_bytes) == (300 * MIB, 200 * MIB)
    assert memory.capacity_bytes == 300 * MIB
    assert memory.sources["limit_bytes"] == memory.sources["available_bytes"] == "control group"
    assert memory.sources["total_bytes"] != "control group"


def test_affinity_and_quota_bound_the_cores(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(host, "_affinity", lambda: {0, 1, 4, 5})
    blocks = [INTEL.format(cpu=cpu, core=cpu % 4) for cpu in range(8)]
    files: dict[str, str | bytes] = {"proc/cpuinfo": "\n".join(blocks), "proc/self/cgroup": "0::/\n"}
    findings = HostProbe(tree(files)).read()
    assert findings.cpu is not None
    # CPUs 0 and 4 are threads of one core, 1 and 5 of another.
    assert (findings.cpu.physical_cores, findings.cpu.logical_cores) == (2, 4)
    assert findings.cpu.sources["physical_cores"] == "/proc/cpuinfo"
    assert findings.cpu.sources["logical_cores"] == "affinity"
    assert findings.notes == ("This process may use 4 of 8 CPU threads (affinity or container quota).",)
    files["sys/fs/cgroup/cpu.max"] = "150000 100000"
    limited = HostProbe(tree(files)).read().cpu
    assert limited is not None
    assert (limited.physical_cores, limited.logical_cores) == (1, 1)
    assert limited.sources["physical_cores"] == "/proc/cpuinfo, control group"
    assert limited.sources["logical_cores"] == "control group"


MEMINFO = """\
MemTotal:       32768000 kB
MemFree:         1000000 kB
MemAvailable:   20000000 kB
SwapTotal:       8000000 kB
SwapFree:        7000000 kB
"""
UDEV_TWO_DDR5 = "".join(
    f"E:MEMORY_DEVICE_{slot}_SIZE=17179869184\n"
    f"E:MEMORY_DEVICE_{slot}_TYPE=DDR5\n"
    f"E:MEMORY_DEVICE_{slot}_DATA_WIDTH=64\n"
    f"E:MEMORY_DEVICE_{slot}_SPEED_MTS=5600\n"
    f"E:MEMORY_DEVICE_{slot}_CONFIGURED_SPEED_MTS=5600\n"
    f"E:MEMORY_DEVICE_{slot}_LOCATOR=DIMM 0\n"
    f"E:MEMORY_DEVICE_{slot}_BANK_LOCATOR=P0 CHANNEL {'AB'[slot]}\n"
    for slot in range(2)
)


def test_ram_and_swap_from_meminfo_and_the_modules(tree: Tree) -> None:
    memory = HostProbe(tree({"proc/meminfo": MEMINFO, "run/udev/data/+dmi:id": UDEV_TWO_DDR5})).read().memory
    assert memory is not None
    assert (memory.total_bytes, memory.available_bytes) == (32768000 * 1024, 20000000 * 1024)
    assert (memory.swap_total_bytes, memory.swap_free_bytes) == (8000000 * 1024, 7000000 * 1024)
    assert (memory.memory_type, memory.channels, memory.transfer_rate_mt_s) == ("DDR5", 2, 5600)
    assert memory.peak_bandwidth_bytes_per_s == memory.bandwidth_bytes_per_s == 89_600_000_000
    assert memory.bandwidth_source == "DDR5-5600 × 2 channels (peak)"
    sizes = ("total_bytes", "available_bytes", "swap_total_bytes", "swap_free_bytes")
    modules = ("memory_type", "channels", "transfer_rate_mt_s")
    assert memory.sources == {
        **dict.fromkeys(sizes, "/proc/meminfo"),
        **dict.fromkeys(modules, "udev"),
        "peak_bandwidth_bytes_per_s": memory.bandwidth_source,
    }


def test_swap_of_a_container_is_bounded(tree: Tree) -> None:
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.swap.max": "4096"}
    files["sys/fs/cgroup/memory.swap.current"] = "1024"
    memory = HostProbe(tree(files)).read().memory
    assert memory is not None
    assert (memory.swap_total_bytes, memory.swap_free_bytes) == (4096, 3072)
    assert memory.sources["swap_total_bytes"] == "control group"


@pytest.mark.parametrize(
    "hypervisor",
    [{"proc/cpuinfo": "processor : 0\nflags : avx hypervisor\n"}, {"sys/class/dmi/id/sys_vendor": "QEMU\n"}],
)
def test_the_modules_of_a_virtual_machine_are_not_believed(tree: Tree, hypervisor: dict[str, str]) -> None:
    files = {"proc/meminfo": MEMINFO, "run/udev/data/+dmi:id": UDEV_TWO_DDR5} | hypervisor
    findings = HostProbe(tree(files)).read()
    assert findings.memory is not None
    assert (findings.memory.memory_type, findings.memory.bandwidth_bytes_per_s) == (None, None)


def test_an_empty_root_is_unknown_and_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/proc/meminfo")

    monkeypatch.setattr("psutil.virtual_memory", no_proc)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: None)
    findings = HostProbe(tmp_path).read()
    assert findings.memory is not None
    assert findings.memory.total_bytes is None
    assert any(note.startswith("RAM could not be read") for note in findings.notes)
    assert findings.cpu is not None
    assert (findings.cpu.name, findings.cpu.physical_cores, findings.cpu.numa_nodes) == (None, None, None)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"MemTotal: lots\nMemAvailable: 5 kB\n", b"MemTotal: 0 kB"]
)
def test_meminfo_that_makes_no_sense_leaves_it_to_psutil(tree: Tree, content: bytes) -> None:
    memory = HostProbe(tree({"proc/meminfo": content})).read().memory
    assert memory is not None
    assert memory.total_bytes is not None
    assert memory.total_bytes > GIB // 8


def _hybrid(cpus: int) -> dict[str, str | bytes]:
    """A Core i5-12600K like CPU: CPUs 0 to 11 are six fast cores of two threads, 12 to 15 slow cores."""
    files: dict[str, str | bytes] = {
        "sys/devices/cpu_core/cpus": "0-11\n",
        "sys/devices/cpu_atom/cpus": "12-15\n",
    }
    blocks = [INTEL.format(cpu=cpu, core=cpu // 2 if cpu < 12 else cpu) for cpu in range(cpus)]
    return files | {"proc/cpuinfo": "\n".join(blocks)}


@pytest.mark.parametrize(
    ("affinity", "quota", "cores"),
    [
        (set(range(16)), "max 100000", (6, 10, 16)),
        ({0, 1, 2, 12, 13}, "max 100000", (2, 4, 5)),
        ({12, 13}, "max 100000", (None, 2, 2)),
        (set(range(16)), "400000 100000", (4, 4, 4)),
    ],
)
def test_fast_cores_of_a_hybrid_cpu(
    tree: Tree,
    monkeypatch: pytest.MonkeyPatch,
    affinity: set[int],
    quota: str,
    cores: tuple[int | None, int, int],
) -> None:
    monkeypatch.setattr(host.os, "cpu_count", lambda: 16)
    monkeypatch.setattr(host, "_affinity", lambda: affinity)
    files = _hybrid(16) | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": quota}
    cpu = HostProbe(tree(files)).read().cpu
    assert cpu is not None
    assert (cpu.performance_cores, cpu.physical_cores, cpu.logical_cores) == cores


@pytest.mark.parametrize(
    ("capacities", "fast"),
    [
        # Like GB10: ten A725 and ten X925, each kind at several clocks (figures made up).
        ([718] * 5 + [997] * 5 + [731] * 5 + [1017] * 4 + [1024], 10),
        # A phone: one prime core, three big, four little.
        ([1024, 820, 820, 820, 250, 250, 250, 250], 4),
        ([1024] * 8, None),
        ([1024, 990], None),
    ],
)
def test_fast_cores_of_arm(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capacities: list[int], fast: int | None
) -> None:
    monkeypatch.setattr(host.os, "cpu_count", lambda: len(capacities))
    monkeypatch.setattr(host, "_affinity", lambda: set(range(len(capacities))))
    files: dict[str, str | bytes] = {
        "proc/cpuinfo": ARM,
        "sys/class/dmi/id/product_name": "NVIDIA_DGX_Spark\n",
    }
    for cpu, capacity in enumerate(capacities):
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        files[f"{folder}/cpu_capacity"] = f"{capacity}\n"
        files[f"{folder}/topology/core_cpus_list"] = f"{cpu}\n"
    cpu_found = HostProbe(tree(files)).read().cpu
    assert cpu_found is not None
    assert cpu_found.performance_cores == fast
    assert cpu_found.physical_cores == len(capacities)
    assert cpu_found.name == "NVIDIA DGX Spark"


def test_cores_from_sysfs_where_cpuinfo_has_none(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """POWER9 with four threads a core, and a name in its own field."""
    monkeypatch.setattr(host.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(host, "_affinity", lambda: set(range(8)))
    files: dict[str, str | bytes] = {"proc/cpuinfo": "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n"}
    for cpu in range(8):
        siblings = "0-3" if cpu < 4 else "4-7"
        files[f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"] = siblings
    cpu_found = HostProbe(tree(files)).read().cpu
    assert cpu_found is not None
    assert (cpu_found.name, cpu_found.physical_cores) == ("POWER9, altivec supported", 2)
    assert cpu_found.features == ("vsx",)


@pytest.mark.parametrize(
    ("files", "nodes"),
    [
        ({"online": "0-1", "has_memory": "0-1", "has_cpu": "0-1"}, 2),
        ({"online": "0-8", "has_memory": "0-8", "has_cpu": "0"}, 1),
        ({"online": "0"}, 1),
        ({"online": "many"}, None),
        ({}, None),
    ],
)
def test_numa_nodes(tree: Tree, files: dict[str, str], nodes: int | None) -> None:
    root = tree({f"sys/devices/system/node/{name}": text for name, text in files.items()})
    assert read_numa_nodes(root) == nodes


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("isa\t: rv64imafdcv_zicbom_zba\nuarch\t: spacemit,x60\n", ("riscv_v",)),
        ("isa\t: rv64imafdc_zve32f\n", ()),
        ("cpu\t: POWER8 (raw)\n", ()),
        ("vendor_id : IBM/S390\nfeatures : esan3 zarch vx vxd vxe vxe2 nnpa\n", ("vxe", "vxe2", "nnpa")),
        (
            "flags : sse4_2 avx avx2 bmi2 avx_vnni avx512_bf16 amx_tile\n",
            ("sse4_2", "avx", "avx2", "bmi2", "avx_vnni", "avx512_bf16"),
        ),
        ("Features : asimd fphp asimdhp bf16 sme sme2\n", ("neon", "fp16", "bf16", "sme", "sme2")),
    ],
)
def test_features_by_llama_cpps_names(tree: Tree, text: str, features: tuple[str, ...]) -> None:
    assert read_cpuinfo(tree({"proc/cpuinfo": text})).features == features


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (
            {"sys/firmware/devicetree/base/model": b"Raspberry Pi 5 Model B Rev 1.0\0"},
            "Raspberry Pi 5 Model B Rev 1.0",
        ),
        ({"sys/class/dmi/id/product_name": "To Be Filled By O.E.M.\n"}, None),
        ({"sys/class/dmi/id/product_name": b"\x1b[31mred\n"}, "[31mred"),
        ({}, None),
    ],
)
def test_a_board_stands_for_a_cpu_without_a_name(
    tree: Tree, files: dict[str, str | bytes], name: str | None
) -> None:
    cpu = HostProbe(tree({"proc/cpuinfo": ARM, **files})).read().cpu
    assert cpu is not None
    assert cpu.name == name


@given(st.frozensets(st.integers(0, 300), max_size=40))
def test_sets_of_cpus_are_read_as_the_kernel_writes_them(cpus: frozenset[int]) -> None:
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][1] == cpu - 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    text = ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts)
    assert parse_cpu_list(text + "\n") == cpus


@given(st.text(max_size=40))
def test_a_set_of_cpus_may_be_any_text(text: str) -> None:
    assert all(0 <= cpu < 2**14 for cpu in parse_cpu_list(text))


def test_a_huge_set_of_cpus_is_not_believed() -> None:
    assert parse_cpu_list("0-99999999999,5") == {5}


@given(st.binary(max_size=300))
def test_cpuinfo_may_be_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("cpuinfo")
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_bytes(content)
    assert set(read_cpuinfo(root).features) <= {*FEATURE_FLAGS, "riscv_v", "vsx"}
