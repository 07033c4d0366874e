"""Facts out of documents as data: every text in the answer is held against the document that it comes from.

python examples/structured.py
"""

from __future__ import annotations

import tempfile

import edge
from edge_index import Index

NOTE = "The main pump was serviced on Tuesday by Ada Nowak. Its seal is made of green silicone rubber."
SCHEMA = {
    "type": "object",
    "properties": {"technician": {"type": "string", "maxLength": 40}, "seal": {"type": "string", "maxLength": 40}},
    "required": ["technician", "seal"],
    "additionalProperties": False,
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index, edge.load("smollm2") as model:
        index.add_text(NOTE, name="service note")
        chat = edge.Chat(model, knowledge=index, response_format=SCHEMA, sampling=edge.Sampling(max_tokens=80))
        answer = chat.ask("Who serviced the main pump, and what is its seal made of?")
        print(answer.parsed)
        for citation in answer.citations:
            print(f"{citation.claim.text!r} stands in {citation.document}: {citation.quote}")
        for claim in answer.unsupported:
            print(f"{claim.text!r} stands nowhere: it is the model's own")
