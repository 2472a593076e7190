"""A question that may never be answered: a server that is frozen accepts a connection and says nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class NoAnswerYet(Exception):
    """The question is being asked still."""


class Question(Generic[T]):
    """Asks in a thread of its own, one question at a time."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._asked: threading.Event | None = None
        self._answer: list[T] = []
        self._error: list[BaseException] = []

    def answer(self, seconds: float) -> T:
        """Ask, or go on waiting for what was asked before; return the answer.

        Args:
            seconds: How long to wait now.

        Raises:
            NoAnswerYet: It takes longer; ask again later.
            BaseException: What asking raised.
        """
        if self._asked is None:
            self._asked = threading.Event()
            threading.Thread(target=self._run, args=(self._asked,), name="question", daemon=True).start()
        if not self._asked.wait(seconds):
            raise NoAnswerYet
        self._asked = None
        if self._error:
            raise self._error.pop()
        return self._answer.pop()

    def _run(self, asked: threading.Event) -> None:
        try:
            self._answer.append(self._ask())
        except BaseException as error:  # noqa: BLE001 - raised where it was asked
            self._error.append(error)
        finally:
            asked.set()
