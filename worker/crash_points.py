"""The points at which a worker may be killed: the life of a run, place by place."""

from __future__ import annotations

from typing import Final

#: Every place between two effects on the way through, in order: a worker may be killed at any of them.
#: tests/faults kills one at each, and holds that no two effects follow each other without a point in between.
CRASH_POINTS: Final = (
    "claimed",
    "fence_raised",
    "marker_looked_up",
    "preflight_entered",
    "impact_computed",
    "impact_pinned",
    "preflight_journaled",
    "registry_in_progress",
    "apply_entered",
    "apply_begun",
    "apply_noted",
    "recorded",
    "locked",
    "changed",
    "gates_held",
    "proved",
    "marked",
    "committed",
    "step_journaled",
    "apply_journaled",
    "finish_entered",
    "finish_step_done",
    "finish_step_journaled",
    "settled",
)

#: The same between registry_in_progress and apply_entered, where columns are copied online; chunks are copied only if
#: somebody wrote meanwhile.
CRASH_POINTS_PRESERVE: Final = (
    "preserve_entered",
    "copy_made",
    "preserve_step_journaled",
    "copy_kept",
    "chunk_copied",
    "copy_complete",
)

#: The same in their place, where columns that come back are filled.
CRASH_POINTS_FILL: Final = ("fill_begun", "chunk_filled")

#: The same where it does not work out.
CRASH_POINTS_ASIDE: Final = (
    "approval_awaited",
    "lock_wait_journaled",
    "writers_waited_for",
    "copy_discarded",
    "copy_outdated_journaled",
    "registry_left",
    "copy_let_go",
    "fill_let_go",
    "validation_journaled",
    "postponement_journaled",
    "released",
)


def pass_by(point: str) -> None:
    """Go on: what happens at a crash point in production."""
    if point not in CRASH_POINTS + CRASH_POINTS_PRESERVE + CRASH_POINTS_FILL + CRASH_POINTS_ASIDE:
        raise AssertionError(f"crash point {point!r} is not listed")
