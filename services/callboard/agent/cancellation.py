"""The wish of a caller to stop, on its way to whoever works for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar


class _Cancellable(Protocol):
    def cancel(self) -> Any: ...


F = TypeVar("F", bound=_Cancellable)


class CancellationToken:
    """Tells everybody who was given it that the work is no longer wanted.

    One token may be passed on to nested calls; over a process boundary the host carries the wish.
    Safe to use from the event loop's thread only.
    """

    __slots__ = ("_callbacks", "_cancelled")

    def __init__(self) -> None:
        self._cancelled = False
        self._callbacks: list[Callable[[], Any]] = []

    def cancel(self) -> None:
        """Cancel what is linked, in the order it was added. Idempotent.

        A callback that raises does not keep the others; the first such error is raised at the end.
        """
        if self._cancelled:
            return
        self._cancelled = True
        callbacks, self._callbacks = self._callbacks, []
        errors: list[Exception] = []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 (a program's code)
                errors.append(error)
        if errors:
            raise errors[0]

    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def add_callback(self, callback: Callable[[], Any]) -> None:
        """Have ``callback`` called by `cancel`; at once when that has happened."""
        if self._cancelled:
            callback()
        else:
            self._callbacks.append(callback)

    def remove_callback(self, callback: Callable[[], Any]) -> None:
        """Forget ``callback``.

        Nothing happens when it is not there (a long-lived token must not grow).
        """
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def link_future(self, future: F) -> F:
        """Have ``future`` cancelled with this token, and give it back."""
        self.add_callback(future.cancel)
        return future
