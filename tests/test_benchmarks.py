"""Arguments of the benchmarks, and the tables that they print."""

import csv
import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import timm
import torch
from circuitstore.evaluation import READOUTS


def load(name: str) -> ModuleType:
    place = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def peers():
    return load("peers")


def test_a_peer_accepts_only_its_own_methods(peers, capsys):
    for peer, (_, methods) in peers.PEERS.items():
        assert peers.arguments(["--peer", peer]).method == methods[0]
        for method in ("eap", "eap-ig", "gate-ig"):
            given = ["--peer", peer, "--method", method]
            if method in methods:
                assert peers.arguments(given).method == method
                continue
            with pytest.raises(SystemExit):
                peers.arguments(given)
            said = capsys.readouterr().err
            assert f"{peer} computes {' or '.join(methods)}, not {method}" in said
            assert "; use --peer" in said


ROW = {
    "form": "attention", "kind": "digits", "variant": "default", "forwards": 2, "backwards": 1, "work": 3, "cpr": 0.5,
    "log_cmd": 0.6, "p_noising": 0.7, "p_denoising": 0.6, "size80": 30, "kept80": 0.9,
}  # fmt: skip
METHODS = {"eap": 0.25, "eap-ig": 0.125}


@pytest.mark.parametrize("selects", [False, True])
def test_quality_tables_skip_sections_without_rows(tmp_path, monkeypatch, capsys, selects):
    """On two subjects, without planted models; only with a method that selects edges is there a table of circuits."""
    own = {"own_edges": 20, "own": 0.8, "matched": 0.7} if selects else dict.fromkeys(("own_edges", "own", "matched"))
    rows = [
        ROW | own | {"subject": subject, "seed": 0, "method": key, "row": key, "cmd": cmd, "planted": None}
        for subject in ("two", "five")
        for key, cmd in METHODS.items()
    ]
    with (tmp_path / "quality.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    monkeypatch.setattr(sys, "argv", ["quality_tables.py", str(tmp_path / "quality.csv"), "--budgets", "3"])
    load("quality_tables").main()
    printed = capsys.readouterr().out
    sections = [line.removeprefix("## ") for line in printed.splitlines() if line.startswith("## ")]
    assert sections == ["Defaults", "Equal cost", *(["Own circuits"] if selects else [])]
    assert "| `eap` | 2 | 2 + 1 | 3 |" in printed and "0 of 2" in printed
    assert ("| `eap` | 2 | 20 (20 to 20) | 0.80 (0.80 to 0.80) | 0.70 (0.70 to 0.70) |" in printed) == selects


@pytest.mark.slow
def test_the_authors_way_and_whole_runs_find_the_same_neuron_path(toy_vit, images):
    """The benchmark of neuron paths compares searches that find the same, on the same image."""
    rows = load("neuron_paths").ROWS
    model = toy_vit(mlp_ratio=2)
    given = model, images(model, 1), torch.tensor([2])
    _, theirs, *ours, _ = (row(*given) for row in rows.values())
    assert len(theirs[0]) == 3 and len(ours) == 3
    for path, jas in ours:
        assert path == theirs[0]
        assert jas == pytest.approx(theirs[1], rel=1e-6)


@pytest.mark.slow
def test_the_table_of_searches_compares_each_with_the_best_path(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["neuron_paths.py", "optimum", "--models", "1"])
    neuron_paths = load("neuron_paths")
    wide = neuron_paths.SEARCHES["beam of 6, alone"]
    monkeypatch.setattr(neuron_paths, "SEARCHES", {"all": dataclasses.replace(wide, beam=216)})
    neuron_paths.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.partition(" has ")[0] for row in rows[2:]] == [f"the best path by {score}" for score in ("jas", "ig")]
    assert rows[:2] == [f"| all | {score} | 1.00 | 0 (0) | 1.00 (1.00) |" for score in ("jas", "ig")]


@pytest.mark.slow
def test_effects_of_neuron_paths_are_compared_with_controls(monkeypatch, capsys):
    effects = load("neuron_effects")
    monkeypatch.setattr(
        effects, "SEARCHES", {name: effects.SEARCHES[name] for name in ("conductance", "activation", "random")}
    )
    monkeypatch.setattr(effects, "KEPT", {"activation": effects.KEPT["activation"]})
    monkeypatch.setattr(sys, "argv", ["neuron_effects.py", "--images", "2", "--masks", "1", "--keep", "256"])
    effects.main()
    sections = dict(part.split("\n\n", 1) for part in capsys.readouterr().out.removeprefix("## ").split("\n## "))
    assert list(sections) == [
        "Effects",
        "Removal, paired differences",
        "By class",
        "Stability and similarity",
        "Pruning",
    ]
    rows = {
        name: [line.strip("| ").split(" | ") for line in table.strip().split("\n")[2:]]
        for name, table in sections.items()
    }
    assert [row[0] for row in rows["Effects"]] == ["conductance", "activation", "random"]
    assert len(rows["By class"]) == 10
    figures = {tuple(row[:4]): row[4:] for row in rows["Pruning"]}
    for tokens in ("class", "all"):
        of = {kept: figures["256", "activation", kept, tokens] for kept in ("class", "random", "none", "all")}
        assert of["class"] == of["random"] == of["all"] != of["none"]


def test_the_checkpoint_of_the_authors_code_has_every_weight_once():
    module = timm.create_model("test_vit", num_classes=3)
    found = load("neuron_peers").weights(module)
    assert sum(value.size for value in found.values()) == sum(p.numel() for p in module.parameters())
    block: Any = module.blocks[1]
    at = "Transformer/encoderblock_1"
    keys = found[f"{at}/MultiHeadDotProductAttention_1/key/kernel"]
    assert np.array_equal(keys.T, block.attn.qkv.weight.chunk(3)[1].detach().numpy())
    assert np.array_equal(found[f"{at}/LayerNorm_2/scale"], block.norm2.weight.detach().numpy())


def test_costs_are_measured_for_every_read_out_with_allowed_parameters():
    costs = load("readout_costs")
    assert {kind for kind, _ in costs.ROWS.values()} == set(READOUTS)
    for kind, params in costs.ROWS.values():
        assert dict(READOUTS.resolve(kind, params).params).items() >= params.items()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_the_peak_of_memory_has_what_was_released_again():
    seconds, peak = load("readout_costs").measured(lambda: np.ones(2**24))  # 128 MiB
    assert seconds > 0 and 120 < peak < 160
