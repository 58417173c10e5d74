"""The app under a pilot, for the tests of its screens."""

import pytest
from msgspec.structs import replace

from tests.doubles.lmstudio import LMStudio
from tests.worlds import SHIPPED
from tui_router.config.settings import BackendSetting
from tui_router.ui.app import RouterApp
from tui_router.ui.options import Options


class Face:
    """The app under a pilot, with the demo server behind it."""

    def __init__(self, app, pilot, server, folder):
        self.app, self.pilot, self.server, self.folder = app, pilot, server, folder

    @property
    def chat(self):
        return self.app.chat

    @property
    def store(self):
        return self.app.engine.store

    def screen(self):
        return "\n".join(
            "".join(s.text for s in strip).rstrip() for strip in self.app.screen._compositor.render_strips()
        )

    async def until(self, there, what="it"):
        for _ in range(300):
            if there():
                return
            await self.pilot.pause(0.02)
        raise AssertionError(f"waited for {what} in vain:\n{self.screen()}")

    async def see(self, *texts):
        for text in texts:
            await self.until(lambda text=text: text in self.screen(), repr(text))

    async def type(self, text):
        await self.pilot.press(*text)

    async def ask(self, text):
        shown = len(self.chat.conversation.cards)
        await self.type(text)
        await self.pilot.press("enter")
        await self.until(
            lambda: len(self.chat.conversation.cards) > shown and not self.app.engine.live, f"the answer to {text}"
        )
        await self.until(lambda: not any(c.live for c in self.chat.conversation.cards.values()), "the last piece")
        await self.pilot.pause()

    def verdict(self, number=1):
        turn = self.store.find(str(number))
        return turn.verdict if turn else None


@pytest.fixture
def face(tmp_path, monkeypatch):
    """Start the app: `async with face(...) as f`."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def start(size=(120, 40), server=True, speed=300, router="auto", **options):
        double = LMStudio(speed=speed)
        url = await double.start() if server else "http://127.0.0.1:9"
        settings = replace(SHIPPED.settings, router=router)
        config = replace(SHIPPED, backends=(BackendSetting(name="LM Studio", url=url),), settings=settings)
        monkeypatch.setattr(RouterApp, "_load", lambda self: _with(config, self.options))
        app = RouterApp(Options(data_dir=tmp_path / "store", **options))
        async with app.run_test(size=size, notifications=True) as pilot:
            made = Face(app, pilot, double, tmp_path / "store")
            await made.until(lambda: app.engine is not None and app.chat.conversation.engine is not None, "the engine")
            await made.until(lambda: all(b.status.reachable is not None for b in app.engine.health.backends), "a look")
            yield made
            await app._stop_engine()
        await double.close()

    return start


def _with(config, options):
    import tui_router.app.engine  # noqa: F401

    if options.threshold is None:
        return config
    return replace(config, settings=replace(config.settings, confidence_threshold=options.threshold))
