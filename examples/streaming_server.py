"""A model behind HTTP, its words as they come: `MODEL=NAME uvicorn streaming_server:app`, then
`curl -N "localhost:8000/ask?q=Hello"`.

Clients are served in the order in which they came. One that goes away ends its reply; one that waits longer than
QUEUE_TIMEOUT seconds is told that the server is busy.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import chain

import anyio.to_thread
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

import edge
from edge.errors import ModelBusy


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # A client that waits for the model holds a thread; with fewer threads than clients words come in bursts.
    anyio.to_thread.current_default_thread_limiter().total_tokens = 500
    with load() as model:
        app.state.model = model
        yield


def load() -> edge.Model:
    return edge.load(os.environ["MODEL"], queue_timeout=float(os.environ.get("QUEUE_TIMEOUT", "300")))


app = FastAPI(lifespan=lifespan)


@app.get("/ask")
def ask(q: str) -> StreamingResponse:
    stream = app.state.model.stream([{"role": "user", "content": q}], sampling=edge.Sampling(max_tokens=200))
    words: Iterator[str] = (delta.text for delta in stream if delta.text)
    try:
        first = next(words, "")  # here, while there is still a status to send
    except ModelBusy as busy:
        raise HTTPException(503, str(busy)) from busy
    return StreamingResponse(chain([first], words), media_type="text/plain; charset=utf-8")
