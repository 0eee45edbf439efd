"""What is said of the llama-servers of a machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmfit.advisor.diagnosis.diagnose import diagnose, server_problem
from llmfit.advisor.diagnosis.findings import (
    NOTE,
    OK,
    PROBLEM,
    WARNING,
    Finding,
)
from llmfit.advisor.hardware.machine import (
    LlamaServer,
    Machine,
    Partition,
)
from llmfit.advisor.server.answers import LISTS_NO_GPU, ServerDevice
from llmfit.advisor.units import GIB
from tests.advisor.diagnosis.machines import AROUND, BROKEN, CARD, CPU_ONLY, CUDA, SOUND, about, the_one


def test_a_cpu_only_build_on_a_machine_with_a_gpu_is_a_problem_with_a_way_out() -> None:
    machine = replace(SOUND, llama_server=CPU_ONLY, llama_servers=(CPU_ONLY,))
    finding = server_problem(machine)
    assert finding is not None and finding.level == PROBLEM
    assert "CPU-only build" in finding.text and CARD.name in finding.text and CPU_ONLY.path in finding.text
    assert "-DGGML_CUDA=ON" in (finding.fix or "")
    assert [f for f in diagnose(machine, AROUND) if f.level == PROBLEM] == [finding]


UNPROVEN = replace(CPU_ONLY, problem=LISTS_NO_GPU)


def test_a_build_that_lists_no_gpu_is_called_cpu_only_only_where_that_is_proven() -> None:
    finding = server_problem(replace(SOUND, llama_server=UNPROVEN, llama_servers=(UNPROVEN,)))
    assert finding is not None and finding.level == PROBLEM
    assert "CPU-only" not in finding.text and "lists no GPU" in finding.text
    assert "built without one, or its driver is missing" in finding.text
    assert "driver" in (finding.fix or "") and "-DGGML_CUDA=ON" in (finding.fix or "")


def test_one_beside_it_that_lists_no_gpu_is_no_warning() -> None:
    found = about("llama-server", replace(SOUND, llama_servers=(CUDA, UNPROVEN)))
    assert [finding.level for finding in found] == [OK, NOTE]


def test_another_one_that_sees_the_gpu_is_the_way_out() -> None:
    finding = server_problem(replace(SOUND, llama_server=CPU_ONLY, llama_servers=(CPU_ONLY, CUDA)))
    assert finding is not None and f'llama_server = "{CUDA.path}"' in (finding.fix or "")


@pytest.mark.parametrize(
    ("vendor", "option"), [("amd", "GGML_HIP"), ("intel", "GGML_SYCL"), ("apple", "GGML_METAL")]
)
def test_the_option_to_build_with_is_the_makers(vendor: str, option: str) -> None:
    gpus = (replace(CARD, vendor=vendor),)
    machine = replace(SOUND, gpus=gpus, llama_server=CPU_ONLY, llama_servers=(CPU_ONLY,))
    assert option in ((server_problem(machine) or CARD).fix or "")  # type: ignore[union-attr]


def test_a_build_whose_backend_fails_is_not_called_cpu_only() -> None:
    server = replace(CUDA, devices=(), problem="CUDA could not be started: driver is old.")
    finding = server_problem(replace(SOUND, llama_server=server))
    assert finding is not None and "CPU-only" not in finding.text
    assert "CUDA could not be started: driver is old." in finding.text


def test_a_server_that_does_not_work() -> None:
    finding = server_problem(replace(SOUND, llama_server=BROKEN))
    assert finding is not None and "libcudart.so.12 is missing" in finding.text
    assert "library" in (finding.fix or "")


def test_none_that_works_is_taken() -> None:
    other = replace(BROKEN, path="/x/llama-server", problem="There is no such file.")
    machine = replace(SOUND, llama_server=None, llama_servers=(other, BROKEN))
    finding = server_problem(machine)
    assert finding is not None and "Correct the path" in (finding.fix or "")
    assert finding.text == "No llama-server that was found works: /x/llama-server. There is no such file."
    found = about("llama-server", machine)
    assert [finding.level for finding in found] == [PROBLEM, NOTE, WARNING]
    assert not any("takes this one" in finding.text for finding in found)
    assert server_problem(replace(machine, llama_servers=(LlamaServer("/not/asked"),))) is None


@pytest.mark.parametrize(
    "machine",
    [
        SOUND,
        replace(SOUND, llama_server=None),
        replace(SOUND, gpus=(), llama_server=CPU_ONLY),
        replace(SOUND, llama_server=LlamaServer("/x/llama-server")),  # not asked
        replace(SOUND, llama_server=LlamaServer("/x", "1", problem="Its devices are not known: it is old.")),
    ],
)
def test_no_server_problem(machine: Machine) -> None:
    assert server_problem(machine) is None


def test_every_server_is_listed_and_the_taken_one_marked() -> None:
    machine = replace(SOUND, llama_servers=(BROKEN, CUDA, CPU_ONLY))
    around = replace(AROUND, server_devices={CUDA.path: (ServerDevice("CUDA0", CARD.name, 24 * GIB),)})
    found = about("llama-server", machine, around)
    assert [finding.level for finding in found] == [WARNING, OK, OK]
    assert "libcudart.so.12" in found[0].text and "library" in (found[0].fix or "")
    assert "(llmfit takes this one)" in found[1].text
    assert "sees CUDA0 (NVIDIA GeForce RTX 3090, 24.0 GiB)" in found[1].text
    assert "sees no GPU" in found[2].text


def server_finding(*words: str, servers: tuple[LlamaServer, ...] = (CUDA,), **changes) -> Finding:
    around = replace(AROUND, **changes.pop("around", {}))
    machine = replace(SOUND, llama_server=servers[0] if servers else None, llama_servers=servers, **changes)
    return the_one(machine, around, *words)


def test_none_found() -> None:
    assert server_finding("none was found", servers=()).level == WARNING


def test_fewer_devices_than_gpus() -> None:
    finding = server_finding("1 of the 2 GPUs", gpus=(CARD, replace(CARD, index=1)))
    assert finding.level == WARNING and "CUDA_VISIBLE_DEVICES" in (finding.fix or "")


def test_slices_of_a_card_are_not_counted() -> None:
    slices = tuple(replace(CARD, index=n, partition=Partition("A100", None, 0.5, 0.5)) for n in range(2))
    assert not [
        f for f in diagnose(replace(SOUND, gpus=slices), AROUND) if "of the" in f.text and "GPUs" in f.text
    ]


def test_vulkan_and_cuda_count_one_card_once() -> None:
    both = replace(CUDA, backends=("cuda", "vulkan", "cpu"), devices=("CUDA0", "Vulkan0"))
    two = (CARD, replace(CARD, index=1))
    assert server_finding("1 of the 2 GPUs", servers=(both,), gpus=two)


def test_a_vulkan_build_on_nvidia_works() -> None:
    vulkan = replace(CUDA, backends=("vulkan", "cpu"), devices=("Vulkan0",))
    assert server_finding("through Vulkan, not CUDA", servers=(vulkan,)).level == NOTE


def test_cards_that_are_counted_in_another_order() -> None:
    cards = (CARD, replace(CARD, index=1, name="NVIDIA GeForce RTX 4090"))
    devices = (ServerDevice("CUDA0", cards[1].name), ServerDevice("CUDA1", cards[0].name))
    server = replace(CUDA, devices=("CUDA0", "CUDA1"))
    finding = server_finding(
        "calls NVIDIA GeForce RTX 4090 CUDA0", servers=(server,), gpus=cards,
        around={"server_devices": {CUDA.path: devices}},
    )  # fmt: skip
    assert finding.level == WARNING and "PCI_BUS_ID" in (finding.fix or "")


def test_an_old_build() -> None:
    old = replace(CUDA, build=9000)
    assert server_finding("build 9000 is older", servers=(old,)).level == WARNING


def test_the_shell_starts_another_one() -> None:
    finding = server_finding("starts /bin/other", around={"path_server": "/bin/other"})
    assert finding.level == NOTE and CUDA.path in (finding.fix or "")
    assert server_finding("not found by a shell", around={"path_server": None}).level == NOTE
