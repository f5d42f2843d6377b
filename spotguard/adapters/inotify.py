"""Fallback hints."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer


@asynccontextmanager
async def change_hints(root, on_change, on_degraded):
    loop = asyncio.get_running_loop()
    base = str(root)
    os.makedirs(base, exist_ok=True)

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event):
            if event.event_type in ("opened", "closed_no_write"):
                return
            for path in {event.src_path, event.dest_path or event.src_path}:
                relative = os.path.relpath(path, base)
                loop.call_soon_threadsafe(on_change, None if relative == "." else relative, event.event_type == "closed")

    observer = Observer()
    try:
        observer.schedule(Handler(), base, recursive=True)
        observer.start()
    except OSError as error:
        on_degraded(str(error))
        yield
        return
    try:
        yield
    finally:
        observer.stop()
        await asyncio.to_thread(observer.join, 2)
