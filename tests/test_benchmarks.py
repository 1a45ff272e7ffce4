"""What the benchmarks refuse before they measure."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def peers():
    place = Path(__file__).parents[1] / "benchmarks" / "peers.py"
    spec = importlib.util.spec_from_file_location("peers", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_peer_is_asked_for_what_it_computes_and_for_nothing_else(peers, capsys):
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
            assert "is had by --peer" in said
