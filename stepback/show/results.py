"""What came of a run beside its steps, in sentences."""

from __future__ import annotations

from typing import Any

from ledger.model import Run


def of_run(run: Run) -> list[str]:
    """Return what a recovery brought back of tables, reports, and left out; nothing where all came back as it was."""
    told: dict[str, Any] = dict(run.result or {})
    return [
        *told.get("damaged", ()),
        *(_of_table(table) for table in told.get("tables", ())),
        *(line for rows in told.get("rows", ()) for line in _of_rows(run, rows["table"], rows)),
        *(line for merged in told.get("merged", ()) for line in _of_merge(run, merged)),
        *(
            f"{each['column']}: {each['gone']:,} row(s) are gone since; their values stay preserved"
            for each in told.get("columns", ())
        ),
        *(f"{label} is there again: the newer one stays" for label in told.get("there_again", ())),
        *(_of_report(told["report"]) if "report" in told else ()),
        *(_of_orphans(aside) for aside in told.get("set_aside", ())),
        *(
            f"rows did not allow to {left['step']}: {left['reason']}; mend them, then"
            f" `stepback recover {run.subject_run}` brings it back"
            for left in told.get("left_out", ())
        ),
    ]


def _of_table(told: dict[str, Any]) -> str:
    return f"{told['table']}: {told['recovered']:,} row(s) are back, {told['left']:,} stay preserved"


def _of_merge(run: Run, told: dict[str, Any]) -> list[str]:
    there = told["kept"] - told["not_back"]
    lines = [f"{told['object']} is there again: {there:,} of {told['kept']:,} row(s) are in it"]
    if told.get("without"):
        lines.append(f"{told['object']}: it has no {', '.join(told['without'])} any more, whose values stay preserved")
    return [*lines, *_of_rows(run, told["object"], told)]


def _of_rows(run: Run, name: str, told: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if told.get("overwritten"):
        lines.append(
            f"{name}: {told['overwritten']:,} newer row(s) gave way to preserved ones; `stepback recover {run.run}`"
            " gives them back"
        )
    if told["not_back"]:
        lines.append(
            f"{name}: {told['not_back']:,} of {told['kept']:,} row(s) did not come back, since newer rows stand in"
            " their place, or what they belong to is gone; they stay preserved"
        )
    if told.get("aside"):
        lines.append(
            f"{name}: {told['aside']:,} of them lie in quarantine for review, each beside the newer one;"
            f" `stepback recover {run.run}` puts them in place"
        )
    return lines


def _of_report(figures: dict[str, str | None]) -> list[str]:
    return ["report: " + ", ".join(f"{name} {value}" for name, value in figures.items())]


def _of_orphans(told: dict[str, Any]) -> str:
    return f"{told['table']}: {told['rows']:,} row(s) without a parent for {told['key']} are set aside in {told['in']}"
