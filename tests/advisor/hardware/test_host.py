"""CPU, RAM and the limits of containers, from file trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmfit.advisor.hardware import host
from llmfit.advisor.hardware.cgroup import CgroupMemory, read_cgroup_cpus, read_cgroup_memory
from llmfit.advisor.hardware.host import HostProbe, read_cpuinfo
from llmfit.advisor.units import GIB, MIB

Tree = Callable[[Mapping[str, str | bytes]], Path]
TOTAL = 64 * GIB
V1_NONE = "9223372036854771712"

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


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, CgroupMemory(None, None), id="no-cgroups"),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.stat": "inactive_file 0\n"},
            CgroupMemory(None, None),
            id="v2-root-has-no-limit-file",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"},
            CgroupMemory(None, None),
            id="v2-unlimited",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": str(8 * GIB),
                "sys/fs/cgroup/memory.current": str(3 * GIB),
                "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB}\n",
            },
            CgroupMemory(8 * GIB, 6 * GIB),
            id="v2-container-less-what-it-holds-but-for-page-cache",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": str(8 * GIB),
                "sys/fs/cgroup/a/memory.current": str(7 * GIB),
                "sys/fs/cgroup/a/b/memory.max": str(4 * GIB),
                "sys/fs/cgroup/a/b/memory.current": str(GIB),
            },
            CgroupMemory(4 * GIB, GIB),
            id="v2-the-group-above-has-less-left",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": str(8 * GIB),
                "sys/fs/cgroup/a/memory.current": str(4 * GIB),
                "sys/fs/cgroup/a/b/memory.max": str(4 * GIB),
                "sys/fs/cgroup/a/b/memory.current": str(3 * GIB),
            },
            CgroupMemory(4 * GIB, GIB),
            id="v2-the-group-itself-has-less-left",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a\n",
                "sys/fs/cgroup/a/memory.max": "max",
                "sys/fs/cgroup/a/memory.high": str(4 * GIB),
                "sys/fs/cgroup/a/memory.current": "0",
            },
            CgroupMemory(4 * GIB, 4 * GIB),
            id="v2-memory-high",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/system.slice/docker-123.scope\n",
                "sys/fs/cgroup/memory.max": str(2 * GIB),
                "sys/fs/cgroup/memory.current": str(512 * MIB),
            },
            CgroupMemory(2 * GIB, 2 * GIB - 512 * MIB),
            id="v2-path-of-the-host-inside-a-container",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NONE,
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": str(16 * GIB),
                "sys/fs/cgroup/memory/x/memory.usage_in_bytes": str(6 * GIB),
                "sys/fs/cgroup/memory/x/memory.stat": f"inactive_file 7\ntotal_inactive_file {2 * GIB}\n",
            },
            CgroupMemory(16 * GIB, 12 * GIB),
            id="v1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NONE,
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
            },
            CgroupMemory(None, None),
            id="v1-unlimited",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(TOTAL)},
            CgroupMemory(None, None),
            id="a-limit-of-all-memory-is-none",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": str(GIB),
                "sys/fs/cgroup/memory.current": str(2 * GIB),
            },
            CgroupMemory(GIB, 0),
            id="more-held-than-allowed",
        ),
        pytest.param(
            {"proc/self/cgroup": "rubbish\n0::/../..\n", "sys/fs/cgroup/memory.max": "soon"},
            CgroupMemory(None, None),
            id="rubbish",
        ),
    ],
)
def test_cgroup_memory(tree: Tree, files: dict[str, str | bytes], expected: CgroupMemory) -> None:
    assert read_cgroup_memory(tree(files), TOTAL) == expected


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5),
        (
            {
                "proc/self/cgroup": "0::/a\n",
                "sys/fs/cgroup/a/cpu.max": "800000 100000\n",
                "sys/fs/cgroup/cpu.max": "400000 100000\n",
            },
            4.0,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            1.5,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
    ],
)
def test_cgroup_cpus(tree: Tree, files: dict[str, str | bytes], cpus: float | None) -> None:
    assert read_cgroup_cpus(tree(files)) == cpus


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


def test_affinity_and_quota_bound_the_cores(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(host, "_affinity", lambda: {0, 1, 4, 5})
    blocks = [INTEL.format(cpu=cpu, core=cpu % 4) for cpu in range(8)]
    files: dict[str, str | bytes] = {"proc/cpuinfo": "\n".join(blocks), "proc/self/cgroup": "0::/\n"}
    findings = HostProbe(tree(files)).read()
    assert findings.cpu is not None
    # CPUs 0 and 4 are threads of one core, 1 and 5 of another.
    assert (findings.cpu.physical_cores, findings.cpu.logical_cores) == (2, 4)
    assert findings.notes == ("This process may use 4 of 8 CPU threads (affinity or container quota).",)
    files["sys/fs/cgroup/cpu.max"] = "150000 100000"
    limited = HostProbe(tree(files)).read().cpu
    assert limited is not None
    assert (limited.physical_cores, limited.logical_cores) == (1, 1)
