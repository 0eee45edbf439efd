"""Cards as they are found: slices (NVIDIA MIG), different ones, busy ones, some that could not be read."""

from __future__ import annotations

from dataclasses import replace

from llmfit.advisor.hardware.machine import Gpu, Machine, Partition, VramProcess
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.units import GIB
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui.session import machine_from


def slice_of(index: int, size_gib: int) -> Gpu:
    share = size_gib / 80
    return Gpu(
        index,
        f"NVIDIA H100 80GB HBM3 MIG {size_gib}gb",
        "nvidia",
        "cuda",
        uuid=f"MIG-{index}",
        vram_total_bytes=size_gib * GIB,
        vram_free_bytes=size_gib * GIB,
        bandwidth_bytes_per_s=int(3352e9 * share),
        partition=Partition("NVIDIA H100 80GB HBM3", "GPU-1", share, share),
    )


def machine(*gpus: Gpu) -> Machine:
    bare = machine_from({"gpu": "none", "ram": "64GiB"})
    return replace(bare, gpus=gpus)


LARGE = build_model(find_model("Qwen3-32B"), "Q8_0")
SMALL = build_model(find_model("Llama-3.1-8B"), "Q4_K_M")


def test_two_slices_are_never_put_together() -> None:
    judgement = judge(LARGE, machine(slice_of(0, 20), slice_of(1, 20)), Request())
    assert judgement.verdict != "fits_gpu"
    assert len(judgement.settings.devices) == 1


def test_fixed_layers_go_to_one_slice_too() -> None:
    judgement = judge(LARGE, machine(slice_of(0, 20), slice_of(1, 20)), Request(gpu_layers=99))
    assert len(judgement.settings.devices) == 1
    assert judgement.verdict == "does_not_fit"


def test_the_largest_slice_is_taken_and_named() -> None:
    judgement = judge(SMALL, machine(slice_of(0, 10), slice_of(1, 40), slice_of(2, 20)), Request())
    assert judgement.settings.devices == (1,)
    assert judgement.argv is not None
    # The one slice that the program sees is its first device.
    assert judgement.argv[judgement.argv.index("--device") + 1] == "CUDA0"
    (warning,) = [warning for warning in judgement.warnings if warning.code == "mig_slice"]
    assert "CUDA_VISIBLE_DEVICES=MIG-1" in warning.text
    assert judgement.environment == (("CUDA_VISIBLE_DEVICES", "MIG-1"),)
    assert (judgement.shell_line or "").startswith("CUDA_VISIBLE_DEVICES=MIG-1 llama-server ")


def test_a_slice_alone_needs_no_word() -> None:
    judgement = judge(SMALL, machine(slice_of(0, 20)), Request())
    assert judgement.verdict == "fits_gpu"
    assert not [warning for warning in judgement.warnings if warning.code == "mig_slice"]


def test_whole_cards_come_first_where_they_hold_more() -> None:
    card = replace(slice_of(1, 80), name="NVIDIA A100", uuid="GPU-9", partition=None)
    judgement = judge(LARGE, machine(slice_of(0, 20), card), Request())
    assert judgement.verdict == "fits_gpu"
    assert judgement.settings.devices == (1,)
    assert judgement.argv is not None
    assert judgement.argv[judgement.argv.index("--device") + 1] == "CUDA0"
    assert judgement.environment == (("CUDA_VISIBLE_DEVICES", "GPU-9"),)


def test_different_cards_are_counted_as_they_are_listed() -> None:
    """CUDA would call the faster one CUDA0."""
    cards = tuple(
        Gpu(i, name, "nvidia", "cuda", vram_total_bytes=size * GIB, vram_free_bytes=size * GIB)
        for i, (name, size) in enumerate((("RTX 3060", 12), ("RTX 3090", 24)))
    )
    judgement = judge(build_model(find_model("gemma-3-27b"), "Q4_K_M"), machine(*cards), Request())
    assert judgement.settings.devices == (1,)
    assert (judgement.shell_line or "").startswith("CUDA_DEVICE_ORDER=PCI_BUS_ID llama-server ")
    assert judgement.argv is not None and "CUDA1" in judgement.argv
    assert "device_order" in [warning.code for warning in judgement.warnings]
    known = machine(*(replace(card, uuid=f"GPU-{card.index:08d}-aaaa-bbbb") for card in cards))
    named = judge(build_model(find_model("gemma-3-27b"), "Q4_K_M"), known, Request())
    assert named.environment == (("CUDA_VISIBLE_DEVICES", "GPU-00000000,GPU-00000001"),)
    assert named.argv == judgement.argv


def test_equal_cards_need_no_variable() -> None:
    card = Gpu(0, "RTX 3090", "nvidia", "cuda", vram_total_bytes=24 * GIB, vram_free_bytes=24 * GIB)
    judgement = judge(SMALL, machine(card, replace(card, index=1)), Request())
    assert judgement.environment == ()
    assert (judgement.shell_line or "").startswith("llama-server ")


def test_what_a_program_is_known_to_hold_never_counts_as_free() -> None:
    card = Gpu(
        0,
        "RTX 3090",
        "nvidia",
        "cuda",
        vram_total_bytes=24 * GIB,
        processes=(VramProcess(7, "trainer", 20 * GIB), VramProcess(8, "Xorg", None)),
    )
    assert card.usable_bytes == 4 * GIB
    judgement = judge(SMALL, machine(card), Request())
    assert judgement.verdict != "fits_gpu"
    assert "unknown_free_memory" in [warning.code for warning in judgement.warnings]


def test_a_gpu_that_could_not_be_read_is_named_with_every_judgement() -> None:
    bare = replace(machine(), unseen_gpus=("The driver did not answer.",))
    judgement = judge(SMALL, bare, Request())
    assert (judgement.warnings[0].code, judgement.warnings[0].text) == (
        "gpu_not_read",
        "The driver did not answer.",
    )


def test_of_equal_cards_the_idle_one_is_taken() -> None:
    busy = Gpu(
        0,
        "RTX 3090",
        "nvidia",
        "cuda",
        vram_total_bytes=24 * GIB,
        vram_free_bytes=21 * GIB,
        processes=(VramProcess(7, "llama-server", 2 * GIB),),
    )
    idle = replace(busy, index=1, vram_free_bytes=24 * GIB, processes=())
    assert judge(SMALL, machine(busy, idle), Request()).settings.devices == (1,)
    desktop = replace(busy, processes=(VramProcess(8, "Xorg", GIB // 2),))
    assert judge(SMALL, machine(desktop, idle), Request()).settings.devices == (0,)
