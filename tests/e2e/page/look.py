"""Looks at the page as a person does, in headless Chromium: `python look.py URL FOLDER`, in an environment with playwright.

Prints one JSON line per look: what is to be seen, what a screen reader is told, and what the browser complained about. After the first look
it waits for a line on standard input, the word of the headline to wait for, before each further one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

_SEEN = """() => ({
  level: document.getElementById("banner").dataset.level,
  word: document.getElementById("word").textContent,
  sentence: document.getElementById("sentence").textContent,
  countdown: document.getElementById("countdown").hidden ? null : document.getElementById("countdown").textContent,
  title: document.title,
  checkpoints: [...document.querySelectorAll("#checkpoints tr")].map((row) => [...row.children].map((cell) => cell.textContent)),
  images: document.images.length,
  problems: document.getElementById("problems").hidden ? [] :
    [...document.querySelectorAll("#problem-list li")].map((item) => item.textContent),
  risk: document.getElementById("risk").textContent,
  sparkline: document.querySelector("#spark polyline") !== null,
  overflows: document.documentElement.scrollWidth > document.documentElement.clientWidth,
})"""


def main(url: str, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[f"--{flag}" for flag in _FLAGS],
        )
        complaints: list[str] = []
        foreign: list[str] = []
        pages: dict[str, Page] = {}
        for name, options in _VIEWS.items():
            page = browser.new_context(**options).new_page()
            page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith(url) else None)
            page.goto(url + "/")
            page.locator("#edges dt").first.wait_for()
            pages[name] = page
        number = 0
        while True:
            seen: dict[str, Any] = {}
            for name, page in pages.items():
                page.wait_for_timeout(300)
                page.screenshot(path=str(folder / f"{number}-{name}.png"), full_page=True)
                seen[name] = page.evaluate(_SEEN)
            spoken = pages["light"].locator("body").aria_snapshot()
            print(json.dumps({"seen": seen, "spoken": spoken, "complaints": complaints, "foreign": foreign}), flush=True)
            word = sys.stdin.readline().strip()
            if not word:
                return
            for page in pages.values():
                page.locator(f'#word:text-is("{word}")').wait_for()
            number += 1


_FLAGS = (
    *("no-sandbox", "disable-gpu", "no-first-run", "disable-sync", "disable-background-networking", "disable-component-update"),
    "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1100, "height": 700}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1100, "height": 700}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}, "color_scheme": "light", "device_scale_factor": 2},
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
