"""``llmfit plan``: the contract's names, text within 80 columns, and every option of the command line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tui.cli.conftest import Run

QWEN = ("plan", "Qwen3-8B", "--quant", "Q4_K_M", "--context", "16k", "--tps", "15")
OSS = (
    "plan",
    "gpt-oss-120b",
    "--context",
    "32k",
    "--tps",
    "25",
    "--gpu",
    "RTX 5090",
    "--gpu",
    "M4 Max 128GB",
)
CARD = ("--gpu", "RTX 3090", "--ram", "64GiB", "--ram-bandwidth", "50")
LLAMA = ("plan", "Llama-3.3-70B", "--quant", "Q4_K_M", "--context", "16k", "--tps", "12", "--upgrade", *CARD)
CONTRACT = ("gpus", "ram_bytes", "price_usd", "verdict", "decode_tok_s", "prefill_tok_s", "memory")


def options(run: Run, *arguments: str) -> list[dict[str, Any]]:
    answer = run(*arguments, "--json")
    assert answer.err == ""
    found = answer.document["options"]
    assert isinstance(found, list)
    return found


def test_the_document_has_the_names_of_the_contract(run: Run) -> None:
    document = run(*QWEN, "--json").document
    assert document["schema"] == "llmfit.plan/1"
    assert document["target_tok_s"] == 15
    assert document["model"]["id"].endswith("Qwen3-8B")
    assert document["settings"]["context"] == 16384
    for option in document["options"]:
        for name in CONTRACT:
            assert name in option
        assert isinstance(option["decode_tok_s"], float)
        assert option["speed"]["decode_tok_s"]["expected"] == option["decode_tok_s"]
        assert option["memory"]["total_bytes"] == sum(d["total_bytes"] for d in option["memory"]["devices"])
        assert option["argv"][0] == "llama-server"
        assert option["price_of"] in ("cards only", "cards and RAM", "RAM only", "whole machine")


def test_a_large_model_reads_like_an_article(run: Run) -> None:
    """Every line fits a terminal, and what the prices mean is said beside them."""
    answer = run(*OSS)
    assert answer.code == 0
    assert max(map(len, answer.out.splitlines())) <= 80
    text = " ".join(answer.out.split())
    for said in (
        "CARDS THAT HOLD ALL OF IT",
        "WHOLE COMPUTERS",
        "list price",
        "A SERVER",
        "not of the server",
    ):
        assert said in text
    assert "2x RTX 5090" in text
    assert "…" not in text, "a name is cut"


def test_an_option_can_be_asked_of_estimate_again(run: Run) -> None:
    """What plan promises of cards is what estimate says of them."""
    cards = [option for option in options(run, *QWEN) if option["kind"] == "cards"]
    for option in (cards[0], cards[-1]):
        spec = f"{len(option['gpus'])}x {option['gpus'][0]['catalog_id']}"
        asked = ("estimate", "Qwen3-8B", "--quant", "Q4_K_M", "--context", "16k", "--gpu", spec)
        estimate = run(*asked, "--ram", "64GiB", "--json").document
        assert estimate["verdict"] == option["verdict"]
        assert estimate["memory"]["weights_bytes"] == option["memory"]["weights_bytes"]
        assert estimate["speed"]["decode_tok_s"]["expected"] == pytest.approx(
            option["decode_tok_s"], rel=1e-3
        )


def test_limit_counts_rows_and_every_kind_gets_one(run: Run) -> None:
    asked = (*QWEN, "--gpu", "RTX 3090", "--gpu", "RTX 5090", "--gpu", "M4 32GB", "--gpu", "M3 Ultra 96GB")
    everything = options(run, *asked, "--limit", "99")
    few = options(run, *asked, "--limit", "3")
    assert len(few) == 3 < len(everything)
    assert len({(option["kind"], option["host"]) for option in few}) == min(
        3, len({(option["kind"], option["host"]) for option in everything})
    )
    assert options(run, *asked, "--limit", "1")[0]["price_usd"] == everything[0]["price_usd"]


def test_a_named_card_is_the_only_one(run: Run) -> None:
    found = options(run, *QWEN, "--gpu", "RTX 3090")
    names = {gpu["name"] for option in found for gpu in option["gpus"]}
    assert names == {"GeForce RTX 3090"}


def test_an_old_card_is_planned_for_where_it_is_named(run: Run) -> None:
    found = options(run, "plan", "Qwen3-8B", "--quant", "Q4_K_M", "--tps", "3", "--gpu", "Tesla P40")
    assert any(gpu["name"] == "Tesla P40" for option in found for gpu in option["gpus"])


def test_a_named_mac_with_its_memory(run: Run) -> None:
    found = options(run, *QWEN, "--gpu", "M3 Ultra 96GB")
    assert [option["name"] for option in found if option["kind"] == "whole_machine"] == [
        "Mac Studio M3 Ultra 96 GB"
    ]


def test_the_users_host_replaces_the_stated_ones(run: Run) -> None:
    found = options(run, *QWEN, "--ram", "128GiB", "--ram-bandwidth", "300")
    for option in found:
        if option["kind"] == "cards_and_ram":
            assert option["host"] == "stated"
            assert option["ram_bandwidth_bytes_per_s"] == 300_000_000_000


def test_a_host_price_makes_one_list_of_whole_machines(run: Run) -> None:
    asked = (*QWEN, "--gpu", "RTX 3090", "--gpu", "RTX 5090", "--gpu", "M3 Ultra 96GB")
    plain = {option["name"]: option for option in options(run, *asked)}
    hosted = options(run, *asked, "--host-usd", "900")
    assert {option["price_of"] for option in hosted} == {"whole machine"}
    for option in hosted:
        if option["kind"] == "cards" and option["name"] in plain and option["price_usd"] is not None:
            assert option["price_usd"] == plain[option["name"]]["price_usd"] + 900
    assert "--host-usd" in run(*asked, "--host-usd", "900").out


def test_a_budget_is_kept(run: Run) -> None:
    found = options(run, *QWEN, "--budget-usd", "1600")
    assert found
    assert all(option["price_usd"] <= 1600 for option in found)


def test_without_a_target_reading_speed_is_meant_and_said(run: Run) -> None:
    asked = ("plan", "Qwen3-8B", "--quant", "Q4_K_M", "--context", "8k", "--gpu", "RTX 3090")
    assert "as fast as a person reads" in run(*asked).out
    document = run(*asked, "--json").document
    assert document["target_tok_s"] == 8
    assert document["target_is_given"] is False


def test_out_of_reach_lists_the_nearest_flagged(run: Run) -> None:
    asked = (*QWEN[:-1], "4000", "--gpu", "RTX 3090", "--gpu", "M3 Ultra 96GB")
    document = run(*asked, "--json").document
    assert document["reaches_target"] is False
    assert document["options"]
    assert not any(option["reaches_target"] for option in document["options"])
    assert "Nothing here reaches that" in run(*asked).out


def test_what_nothing_runs_says_so_with_exit_code_1(run: Run) -> None:
    arguments = ("plan", "mimo-v2-flash", "--quant", "Q8_0", "--context", "32k", "--budget-usd", "300")
    answer = run(*arguments, "--json")
    assert answer.code == 1
    assert answer.document["options"] == []
    assert "Nothing" in run(*arguments).out


def test_a_smaller_file_is_proposed_where_it_is_cheaper(run: Run) -> None:
    document = run("plan", "Qwen3-32B", "--quant", "Q8_0", "--context", "8k", "--tps", "8", "--json").document
    cheaper = [one for one in document["cheaper"] if "quant" in one["change"]]
    assert cheaper
    for one in cheaper:
        before = next(o for o in document["options"] if o["name"] == one["instead_of"])
        assert one["option"]["price_usd"] < before["price_usd"]


def test_a_context_beyond_training_is_planned_with_its_warning(run: Run) -> None:
    answer = run("plan", "Qwen3-8B", "--quant", "Q4_K_M", "--context", "256k", "--gpu", "RTX 3090")
    assert "trained" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80


# ---------------------------------------------------------------- upgrade


def test_upgrade_says_from_which_speed_to_which(run: Run) -> None:
    answer = run(*LLAMA)
    text = " ".join(answer.out.split())
    assert "Add a second RTX 3090: from 1.4 (partly in RAM) to 15 tok/s on the GPU; +350 W; USD 1,499" in text
    assert max(map(len, answer.out.splitlines())) <= 80


def test_upgrade_document_has_before_and_after(run: Run) -> None:
    document = run(*LLAMA, "--json").document
    assert document["upgrade"] is True
    assert document["enough_already"] is False
    assert document["now"]["verdict"] == "fits_offload"
    for option in document["options"]:
        for name in CONTRACT:
            assert name in option
        gain = option["gain"]
        assert gain["decode_tok_s_before"] == document["now"]["decode_tok_s"]
        assert gain["decode_tok_s_after"] == option["decode_tok_s"] >= 12


def test_upgrade_of_a_machine_that_does_it_proposes_nothing(run: Run) -> None:
    arguments = ("plan", "Qwen3-8B", "--quant", "Q4_K_M", "--tps", "20", "--upgrade", "--gpu", "RTX 4090")
    assert "nothing to buy" in run(*arguments).out
    assert run(*arguments, "--json").document["options"] == []


def test_what_is_left_out_without_the_speed_of_ram_is_said(run: Run) -> None:
    asked = (*QWEN[:-1], "50", "--upgrade", "--gpu", "none")
    assert "How fast its RAM is, is not known" in run(*asked).out
    assert "How fast its RAM is" not in run(*asked, "--ram-bandwidth", "80").out


def test_upgrade_keeps_the_budget_and_says_it(run: Run) -> None:
    asked = ("plan", "Qwen3-8B", "--quant", "Q4_K_M", "--tps", "900", "--upgrade", "--gpu", "RTX 3060")
    answer = run(*asked, "--budget-usd", "500")
    assert "for at most USD 500" in answer.out
    document = run(*asked, "--budget-usd", "500", "--json").document
    assert document["options"]
    assert all(option["price_usd"] <= 500 for option in document["options"])


def test_upgrade_of_this_machine_is_probed(run: Run) -> None:
    """Whatever runs the tests: an answer, and the machine in it."""
    answer = run("plan", "Qwen3-8B", "--quant", "Q4_K_M", "--context", "8k", "--upgrade", "--json")
    assert answer.code == 0
    assert answer.document["machine"]["ram"]["total_bytes"]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan",), "MODEL: missing"),
        (("plan", "no-such-model-anywhere"), "not in the catalogue"),
        (("plan", "Qwen3-8B", "--quant", "Q99"), "Q99"),
        (("plan", "Qwen3-8B", "--tps", "0"), "not a positive number"),
        (("plan", "Qwen3-8B", "--tps", "nan"), "not a positive number"),
        (("plan", "Qwen3-8B", "--limit", "0"), "not a positive whole number"),
        (("plan", "Qwen3-8B", "--context", "0"), "out of range"),
        (("plan", "Qwen3-8B", "--gpu", "RTX 9999"), "not in the catalogue"),
        (("plan", "Qwen3-8B", "--gpu", "2x RTX 3090"), "plan finds the number itself"),
        (("plan", "Qwen3-8B", "--gpu", "RTX 4090 Mobile"), "none of these is sold"),
        (("plan", "Qwen3-8B", "--tps", "1e9"), "not below 1e+09"),
        (("plan", "Qwen3-8B", "--host-usd", "9", "--upgrade", "--gpu", "RTX 3090"), "contradicts --upgrade"),
        (("plan", "Qwen3-8B", "--machine", "x.json"), "--upgrade"),
        (("plan", "Qwen3-8B", "--vram-free", "8GiB"), "--upgrade"),
        (("plan", "Qwen3-8B", "--ram", "64"), "too little to be meant"),
        (("plan", "Qwen3-8B", "--ram-bandwidth", "0"), "not a bandwidth"),
        (("plan", "Qwen3-8B", "--host-usd", "-5"), "not a positive number"),
        (("plan", "Qwen3-8B", "--context", "4k", "--depth", "8k"), "more than the context"),
        (("plan", "Qwen3-8B", "--cache-type-k", "q3_9", "--gpu", "RTX 3090"), "q3_9"),
    ],
)
def test_bad_input_is_one_clear_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    answer = run(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
