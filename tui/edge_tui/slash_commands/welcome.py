"""/welcome: what is on this machine and how to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_tui.slash_commands import Deed

if TYPE_CHECKING:
    from edge_tui.app.app import ChatApp
    from edge_tui.plain import PlainChat


async def welcome(app: ChatApp, _argument: str) -> None:
    from edge_tui.app.input.offers import greet

    await greet(app)


def plain_welcome(chat: PlainChat, _argument: str) -> None:
    from edge_tui.session.welcome import OFFLINE, PULL, look_around, shown

    found = look_around()
    chat.say(*OFFLINE)
    chat.say(*(f"Model: {model.name}" for model in found.models))
    chat.say(*(f"Model of another program: edge models import {where}" for where in found.elsewhere))
    if not found.models:
        chat.say(f"No model is here yet; run: {PULL}")
    chat.say(f"Text encoder: {found.encoder}" if found.encoder else f"No text encoder is here yet; run: {PULL}")
    chat.say(*(f"Perhaps documents: /add {shown(folder)}" for folder in found.folders))


DEEDS = (Deed("welcome", "", "see what is on this machine and how to begin", welcome, plain=plain_welcome),)
