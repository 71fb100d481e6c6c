"""A real browser, for what is shown there: the system's Chromium without a window. It draws without a graphics card, so pages are small."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
DRAWN_IN_SOFTWARE = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WAIT_MS = 90_000  # a page is drawn by the same two cores that run the graph


@dataclass
class Tab:
    """An open page, and how many frames of its web sockets have come."""

    page: Any
    frames: int = 0

    def press(self, button: str) -> None:
        """Press a button by the event itself: it does not wait until the scene has stopped moving."""
        self.page.get_by_role("button", name=button, exact=True).dispatch_event("click")

    def wait_for(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=WAIT_MS)


@contextmanager
def browser(url: str) -> Iterator[Tab]:
    """A page in a browser; skips the test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=found, args=list(DRAWN_IN_SOFTWARE))
        tab = Tab(process.new_page(viewport={"width": 480, "height": 300}))

        def count(_: Any) -> None:
            tab.frames += 1

        tab.page.on("websocket", lambda socket: socket.on("framereceived", count))
        tab.page.goto(url, timeout=WAIT_MS)
        tab.page.get_by_role("button", name="E-STOP", exact=True).wait_for(timeout=WAIT_MS)
        yield tab
        process.close()
