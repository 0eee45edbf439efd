"""Limits of control groups, from file trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.hardware.host.cgroup import (
    CgroupMemory,
    read_cgroup_cpus,
    read_cgroup_memory,
    read_cgroup_swap,
)
from llmfit.advisor.units import GIB, MIB

Tree = Callable[[Mapping[str, str | bytes]], Path]
TOTAL = 64 * GIB
V1_NONE = "9223372036854771712"
V1_NONE_64K_PAGES = "9223372036854710272"
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:10 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
"""
DOCKER_V1 = """\
700 690 0:40 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory
701 690 0:41 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:16 - cgroup cgroup rw,cpu,cpuacct
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
                "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB}\nactive_file {GIB // 2}\n",
            },
            CgroupMemory(8 * GIB, 6 * GIB + GIB // 2),
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
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/x\n0::/y\n",
                "proc/self/mountinfo": HYBRID,
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": str(9 * GIB),
                "sys/fs/cgroup/memory/x/memory.usage_in_bytes": str(GIB),
                "sys/fs/cgroup/unified/y/memory.current": "1",
            },
            CgroupMemory(9 * GIB, 8 * GIB),
            id="hybrid-memory-at-version-1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "1:cpu,cpuacct:/\n0::/y\n",
                "proc/self/mountinfo": HYBRID,
                "sys/fs/cgroup/unified/y/memory.max": str(9 * GIB),
                "sys/fs/cgroup/unified/y/memory.current": str(GIB),
            },
            CgroupMemory(9 * GIB, 8 * GIB),
            id="hybrid-memory-at-version-2",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/docker/abc/inner\n",
                "proc/self/mountinfo": DOCKER_V1,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(8 * GIB),
                "sys/fs/cgroup/memory/memory.usage_in_bytes": str(3 * GIB),
                "sys/fs/cgroup/memory/inner/memory.limit_in_bytes": str(4 * GIB),
                "sys/fs/cgroup/memory/inner/memory.usage_in_bytes": str(GIB),
            },
            CgroupMemory(4 * GIB, 3 * GIB),
            id="v1-docker-mounts-its-own-group-at-the-top",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/\n",
                "proc/self/mountinfo": HYBRID.replace(
                    " / /sys/fs/cgroup/memory", " /.. /sys/fs/cgroup/memory"
                ),
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(8 * GIB),
                "sys/fs/cgroup/memory/memory.usage_in_bytes": str(3 * GIB),
            },
            CgroupMemory(8 * GIB, 5 * GIB),
            id="a-mount-from-outside-the-namespace",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/pod\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NONE,
                "sys/fs/cgroup/memory/memory.usage_in_bytes": str(3 * GIB),
                "sys/fs/cgroup/memory/memory.stat": f"hierarchical_memory_limit {8 * GIB}\nrss 0",
            },
            CgroupMemory(8 * GIB, 5 * GIB),
            id="v1-limit-of-a-group-that-the-container-does-not-show",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/../../other/x\n",
                "sys/fs/cgroup/memory.max": str(2 * GIB),
                "sys/fs/cgroup/memory.current": str(GIB),
            },
            CgroupMemory(2 * GIB, GIB),
            id="v2-path-outside-the-namespace",
        ),
        pytest.param(
            {"sys/fs/cgroup/memory.max": str(2 * GIB), "sys/fs/cgroup/memory.current": str(GIB)},
            CgroupMemory(2 * GIB, GIB),
            id="v2-no-proc-self-cgroup",
        ),
        pytest.param(
            {"sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 * GIB)},
            CgroupMemory(2 * GIB, None),
            id="v1-no-proc-self-cgroup-and-no-usage",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/user.slice/user-1000.slice/libpod-1.scope\n",
                "sys/fs/cgroup/user.slice/user-1000.slice/memory.max": str(16 * GIB),
                "sys/fs/cgroup/user.slice/user-1000.slice/memory.current": str(10 * GIB),
                "sys/fs/cgroup/user.slice/user-1000.slice/libpod-1.scope/memory.max": "max",
            },
            CgroupMemory(16 * GIB, 6 * GIB),
            id="v2-rootless-container-under-a-limited-user",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/a b\n", "sys/fs/cgroup/a b/memory.max": "-5"},
            CgroupMemory(None, None),
            id="a-limit-below-zero-is-none",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/x\n",
                "proc/self/mountinfo": "41 31 0:38 / /my\\040groups rw - cgroup2 cgroup2 rw\nx - cgroup2\n",
                "my groups/x/memory.max": str(GIB),
            },
            CgroupMemory(GIB, None),
            id="a-mount-with-a-blank-in-its-name",
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


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.swap.max": "max"}, CgroupMemory(None, None)),
        (
            {
                "proc/self/cgroup": "0::/a\n",
                "sys/fs/cgroup/a/memory.swap.max": str(2 * GIB),
                "sys/fs/cgroup/a/memory.swap.current": str(GIB),
                "sys/fs/cgroup/memory.swap.max": str(3 * GIB),
                "sys/fs/cgroup/memory.swap.current": str(3 * GIB),
            },
            CgroupMemory(2 * GIB, 0),
        ),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.swap.max": "0"}, CgroupMemory(0, None)),
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(4 * GIB),
                "sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": str(6 * GIB),
                "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
                "sys/fs/cgroup/memory/memory.memsw.usage_in_bytes": str(GIB + 5),
            },
            CgroupMemory(2 * GIB, 2 * GIB - 5),
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(4 * GIB),
                "sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": V1_NONE,
            },
            CgroupMemory(None, None),
        ),
        *(
            (
                {
                    "proc/self/cgroup": "4:memory:/\n",
                    "sys/fs/cgroup/memory/memory.limit_in_bytes": unlimited,
                    "sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": unlimited,
                    "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
                    "sys/fs/cgroup/memory/memory.memsw.usage_in_bytes": str(GIB),
                },
                CgroupMemory(None, None),
            )
            for unlimited in (V1_NONE, V1_NONE_64K_PAGES)
        ),
    ],
)
def test_cgroup_swap(tree: Tree, files: dict[str, str | bytes], expected: CgroupMemory) -> None:
    assert read_cgroup_swap(tree(files), 8 * GIB) == expected


def test_unreadable_files_are_no_limit(tree: Tree) -> None:
    root = tree({"proc/self/cgroup": b"\xff\xfe0::/x\n0::/\n", "sys/fs/cgroup/memory.max/is/a/folder": "1"})
    (root / "sys/fs/cgroup/cpu.max").symlink_to("cpu.max")
    assert read_cgroup_memory(root, TOTAL) == CgroupMemory(None, None)
    assert read_cgroup_cpus(root) is None


@given(
    limits=st.lists(st.integers(0, 2 * TOTAL), min_size=1, max_size=4),
    used=st.lists(st.integers(0, 2 * TOTAL), min_size=4, max_size=4),
    cache=st.integers(0, 2 * TOTAL),
)
def test_nested_limits_bound_each_other(
    tmp_path_factory: pytest.TempPathFactory, limits: list[int], used: list[int], cache: int
) -> None:
    root = tmp_path_factory.mktemp("nested")
    folder = root / "sys/fs/cgroup"
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("0::" + "".join(f"/{n}" for n in range(len(limits))) + "\n")
    for number, limit in enumerate(limits):
        folder = folder / str(number)
        folder.mkdir(parents=True)
        (folder / "memory.max").write_text(str(limit))
        (folder / "memory.current").write_text(str(used[number]))
        (folder / "memory.stat").write_text(f"active_file {cache}\n")
    found = read_cgroup_memory(root, TOTAL)
    counted = [(limit, use) for limit, use in zip(limits, used, strict=False) if limit < TOTAL]
    assert found.limit_bytes == min((limit for limit, _ in counted), default=None)
    if counted:
        assert found.available_bytes is not None
        assert 0 <= found.available_bytes <= min(limit for limit, _ in counted)
        assert found.available_bytes == min(max(0, lim - max(0, use - cache)) for lim, use in counted)
