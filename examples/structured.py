"""Facts out of documents as data: an object of a pydantic class, every text in it held against its document.

python examples/structured.py
"""

from __future__ import annotations

import tempfile

from pydantic import BaseModel, Field

import edge
from edge_index import Index

NOTE = "The main pump was serviced on Tuesday by Ada Nowak. Its seal is made of green silicone rubber."


class Service(BaseModel):
    """Only replies that keep to this can be generated; `max_length` keeps a small model short."""

    technician: str = Field(max_length=40)
    seal: str = Field(max_length=40)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index, edge.load("smollm2") as model:
        index.add_text(NOTE, name="service note")
        chat = edge.Chat(model, knowledge=index, response_format=Service, sampling=edge.Sampling(max_tokens=80))
        answer = chat.ask("Who serviced the main pump, and what is its seal made of?")
        print(answer.parsed)
        for citation in answer.citations:
            print(f"{citation.claim.text!r} stands in {citation.document}: {citation.quote}")
        for claim in answer.unsupported:
            print(f"{claim.text!r} stands nowhere: it is the model's own")
