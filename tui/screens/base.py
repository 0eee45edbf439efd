"""What the full screens have in common: the app's knowledge of the machine, and one widget with the keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from textual.screen import Screen
from textual.widget import Widget

if TYPE_CHECKING:
    from llmfit.tui.app import LlmfitApp

T = TypeVar("T")


class FullScreen(Screen[None]):
    """``home`` has the focus unless a dialog or a field takes it."""

    home: type[Widget]
    _is_up = False
    _is_to_close = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A screen that is shown again with the focus lost gives it to its home, not to the first field."""
        super().__init_subclass__(**kwargs)
        if "home" in cls.__dict__:
            cls.AUTO_FOCUS = cls.home.__name__

    @property
    def llmfit(self) -> LlmfitApp:
        return cast("LlmfitApp", self.app)

    def open(self, screen: Screen[T], answered: Callable[[T | None], None] | None = None) -> None:
        """Pushes ``screen``; keys that were pressed before it came up must not push another."""
        if self.app.screen is self:
            self.app.push_screen(screen, answered)

    def on_mount(self) -> None:
        """After the one of the subclass: textual calls both."""
        self.call_after_refresh(self._come_up)

    def _come_up(self) -> None:
        self._is_up = True
        if self._is_to_close:
            self.action_close()

    def action_close(self) -> None:
        """Back to the screen below; a key that comes too late finds it gone.

        One that comes before the screen has all its parts waits for them: they look for each other.
        """
        self._is_to_close = True
        if self._is_up and self.app.screen is self:
            self._is_up = False
            self.dismiss(None)

    def on_resize(self) -> None:
        """A terminal that was too small has taken the focus away."""
        if self.focused is None:
            self.call_after_refresh(self.query_one(self.home).focus)
