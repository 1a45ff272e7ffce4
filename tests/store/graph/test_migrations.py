import pytest
from circuitstore.errors import StoreVersion
from circuitstore.store.graph.migrations import Migration, check_current, migrations, pending

URL = "ladybug:///x/graph.lbdb"


def applied():
    return {m.version: m.checksum for m in migrations("ladybug")}


@pytest.mark.parametrize("backend", ["ladybug", "neo4j"])
def test_versions_count_from_one_and_every_file_has_statements(backend):
    found = migrations(backend)
    assert [m.version for m in found] == list(range(1, len(found) + 1))
    assert all(m.statements and not any(s.endswith(";") for s in m.statements) for m in found)


def test_a_statement_ends_at_the_end_of_a_line():
    text = "// one; two\nCREATE NODE TABLE A(\n  id STRING);\n\nRETURN ';x';  \n"
    assert Migration(1, "x", text).statements == ("// one; two\nCREATE NODE TABLE A(\n  id STRING)", "RETURN ';x'")


def test_a_database_of_now_needs_nothing_and_an_empty_one_everything():
    assert pending("ladybug", applied(), URL) == ()
    assert pending("ladybug", {}, URL) == migrations("ladybug")
    check_current("ladybug", applied(), URL)


def test_an_older_database_has_to_be_migrated():
    with pytest.raises(StoreVersion, match=rf"version 0.*needs {max(applied())}.*circuitstore migrate"):
        check_current("ladybug", {}, URL)


def test_a_newer_database_names_both_versions():
    with pytest.raises(StoreVersion, match=rf"version 99.*up to {max(applied())}.*circuitstore rebuild"):
        pending("ladybug", applied() | {99: "x"}, URL)


def test_a_migration_applied_in_another_form_is_refused():
    with pytest.raises(StoreVersion, match=r"version 1 was made by another form.*circuitstore rebuild"):
        pending("ladybug", applied() | {1: "0" * 64}, URL)
