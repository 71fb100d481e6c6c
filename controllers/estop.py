"""The e-stop: pressed by any source, pressed by a source's silence, latched until it is reset with none pressed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class EStop:
    """A latch over named sources.

    A source is known from its first sign of life on, and must go on giving one; those in `required` are waited for.
    """

    timeout_s: float
    required: tuple[str, ...] = ()
    latched: str | None = None
    _pressed: dict[str, bool] = field(default_factory=dict)
    _heard: dict[str, float] = field(default_factory=dict)

    def hear(self, source: str, pressed: bool, now: float) -> None:
        """A sign of life of a source at time now [s]. A press latches at once; silence only at a look, when all were heard."""
        self._pressed[source], self._heard[source] = pressed, now
        if pressed:
            self.latched = self.latched or f"pressed by {source}"

    def leave(self, source: str) -> None:
        """A source says that it goes; a pressed or a required one is still pressed."""
        if not self._pressed.get(source, False) and source not in self.required:
            self._pressed.pop(source, None)
            self._heard.pop(source, None)

    def cause(self, now: float) -> str | None:
        """Why the e-stop is pressed now, or None."""
        for source, pressed in self._pressed.items():
            if pressed:
                return f"pressed by {source}"
            if now - self._heard[source] > self.timeout_s:
                return f"{source} is silent"
        return None

    @property
    def missing(self) -> tuple[str, ...]:
        """Required sources that were never heard."""
        return tuple(source for source in self.required if source not in self._heard)

    def look(self, now: float) -> str | None:
        """Latch if pressed; returns the cause that is latched, or None."""
        if self.latched is None:
            self.latched = self.cause(now)
        return self.latched

    def reset(self, now: float) -> str | None:
        """Release the latch. Returns why that is refused (still pressed), or None."""
        cause = self.cause(now)
        if cause is None:
            self.latched = None
        return cause
