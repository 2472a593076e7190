"""Other people's migrations are read as their own tools read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scripts import Migration, Script, read_project


def write(folder: Path, **files: str) -> Path:
    """Write files, `__` in a name standing for a dot and `___` for a slash."""
    for name, text in files.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_pairs_of_golang_migrate(tmp_path: Path) -> None:
    """Pairs come in the order of their numbers; one that has no way down is said to have none."""
    write(tmp_path, **{"10_b__up__sql": "B", "10_b__down__sql": "UNDO B", "9_a__up__sql": "A", "README__md": "x"})

    assert read_project(tmp_path) == [
        Migration("9_a", Script("A"), None),
        Migration("10_b", Script("B"), Script("UNDO B")),
    ]


def test_steps_in_another_language(tmp_path: Path) -> None:
    """A step that is not SQL is counted; what it says of the schema stands in for it."""
    write(
        tmp_path, **{"1_a__up__sql": "A"}, **{"2_b__up__go": 'tx.Exec("ALTER TABLE t ADD COLUMN a int"); tx.Exec("x")'}
    )

    assert read_project(tmp_path)[1] == Migration("2_b", None, None, ("ALTER TABLE t ADD COLUMN a int",))


def test_folders_of_diesel(tmp_path: Path) -> None:
    """Versions are compared as text without dashes; metadata.toml may say that there is no transaction."""
    write(
        tmp_path,
        **{"2024-01-02-000000_b___up__sql": "B", "2024-01-02-000000_b___down__sql": "UNDO B"},
        **{"2024-01-02-000000_b___metadata__toml": "run_in_transaction = false"},
        **{"20230101000000_a___up__sql": "A"},
    )

    assert read_project(tmp_path) == [
        Migration("20230101000000_a", Script("A"), None),
        Migration("2024-01-02-000000_b", Script("B", in_transaction=False), Script("UNDO B", in_transaction=False)),
    ]


def test_sqlx_says_in_the_first_line_that_there_is_no_transaction(tmp_path: Path) -> None:
    """Each statement is then sent by itself."""
    text = "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a); SELECT 1"
    (migration,) = read_project(write(tmp_path, **{"1_a__up__sql": text}))

    assert migration.up is not None
    assert [part.split()[-1] for part in migration.up.parts] == ["(a)", "1"]


def test_sections_of_goose(tmp_path: Path) -> None:
    """What stands between the marks is one direction; NO TRANSACTION is said for both."""
    text = (
        "-- +goose NO TRANSACTION\n-- +goose Up\n-- +goose StatementBegin\nCREATE TABLE t ();\n-- +goose StatementEnd\n"
        "-- +goose Down\nDROP TABLE t;\n"
    )
    (migration,) = read_project(write(tmp_path, **{"00001_a__sql": text}))

    assert migration.name == "00001_a"
    assert migration.up is not None
    assert migration.down is not None
    assert "CREATE TABLE t" in migration.up.text
    assert "DROP" not in migration.up.text
    assert migration.down.text.strip() == "DROP TABLE t;"
    assert not migration.down.in_transaction


def test_sections_of_sql_migrate(tmp_path: Path) -> None:
    """A section says for itself that it runs without a transaction; one without a way down has none."""
    both = "-- +migrate Up notransaction\nCREATE TABLE t ();\n-- +migrate Down\nDROP TABLE t;\n"
    first, second = read_project(write(tmp_path, **{"1__sql": both}, **{"2__sql": "-- +migrate Up\nSELECT 1;\n"}))

    assert first.up is not None
    assert not first.up.in_transaction
    assert first.down is not None
    assert first.down.in_transaction
    assert second.down is None


@pytest.mark.parametrize("text", ["", "-- nothing\n", "BEGIN; COMMIT;"])
def test_nothing_but_comments_is_empty(text: str) -> None:
    """What changes nothing is no way down."""
    assert Script(text).is_empty


def test_what_cannot_be_parsed_is_not_empty() -> None:
    """Whether it runs, the server says."""
    assert not Script("DROP TABLE").is_empty


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    """No migrations are found where there are none."""
    with pytest.raises(ValueError, match="no migrations"):
        read_project(write(tmp_path, a__txt="x"))
