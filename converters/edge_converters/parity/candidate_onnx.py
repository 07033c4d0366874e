"""An exported ONNX folder in onnxruntime-genai."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edge.system.offline
from edge.engines.onnx.genai_config import load_genai_config
from edge.errors import AdapterError, MissingExtra, ModelError
from edge_converters.parity.candidate import Generated, Turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHUNK = 256


class OnnxCandidate:
    """`folder`, with the `.onnx_adapter` file `adapter` active where one is given.

    `whole` reads a prompt in one piece, which LongRoPE needs: it chooses its factors by the length so far.
    Raises ModelError, AdapterError or MissingExtra.
    """

    def __init__(self, folder: Path, *, adapter: Path | None = None, whole: bool = False) -> None:
        edge.system.offline.silence_native()
        try:
            import onnxruntime_genai as og
        except ImportError as error:
            raise MissingExtra("onnxruntime-genai", "onnx") from error
        self._og: Any = og
        self._path = folder
        self._whole = whole
        self._adapters: Any = None
        try:
            config = load_genai_config(folder / "genai_config.json")["model"]
            self.vocabulary = int(config["vocab_size"])
            ends = config["eos_token_id"]
            self._ends = [int(token) for token in ends] if isinstance(ends, list) else [int(ends)]
            self._model = og.Model(str(folder))
            self._tokenizer = og.Tokenizer(self._model)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelError(f"{folder} cannot be loaded: {error}; convert it again") from error
        if adapter is not None:
            try:
                self._adapters = og.Adapters(self._model)
                self._adapters.load(str(adapter), "adapter")
            except RuntimeError as error:
                raise AdapterError(f"onnxruntime-genai cannot use {adapter} with {folder.name}: {error}") from error

    special_by_text: frozenset[str] = frozenset()

    def tokens(self, text: str) -> list[int]:
        return [int(token) for token in self._tokenizer.encode(text)] if text else []

    def render(self, messages: Sequence[Turn]) -> str:
        try:
            turns = json.dumps([dict(turn) for turn in messages], ensure_ascii=False)
            return str(self._tokenizer.apply_chat_template(turns, add_generation_prompt=True))
        except RuntimeError as error:
            raise ModelError(f"the chat template of {self._path} cannot be used: {error}") from error

    def ends(self, token: int) -> bool:
        return token in self._ends

    def end_token(self) -> int:
        return self._ends[0]

    def could_name_an_end(self) -> bool:
        return True

    def replies(self, prompts: Sequence[Sequence[int]], most: int, advance: Callable[[int], None]) -> list[Generated]:
        found: list[Generated] = []
        for prompt in prompts:
            found.append(self._reply(prompt, most))
            advance(len(found))
        return found

    def logits(self, tokens: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        import numpy as np

        generator = self._generator(len(tokens) + 1)
        step = len(tokens) if self._whole else _CHUNK
        chosen, found = set(positions), []
        for start in range(0, len(tokens), step):
            part = tokens[start : start + step]
            self._append(generator, part)
            wanted = [i for i in range(len(part)) if start + i in chosen]
            if wanted:
                found.append(generator.get_output("logits")[0][wanted].astype(np.float32))
        return np.concatenate(found)

    def close(self) -> None:
        self._adapters = self._tokenizer = self._model = None

    def _reply(self, prompt: Sequence[int], most: int) -> Generated:
        generator = self._generator(len(prompt) + most)
        self._append(generator, prompt)
        found: list[int] = []
        while len(found) < most and not generator.is_done():
            generator.generate_next_token()
            found.append(int(generator.get_next_tokens()[0]))
        # At the maximal length it is done too, so the token has to be looked at.
        return Generated(tuple(found), stopped=bool(generator.is_done()) and self.ends(found[-1]))

    def _generator(self, length: int) -> Any:
        params = self._og.GeneratorParams(self._model)
        params.set_search_options(max_length=length, do_sample=False, batch_size=1, num_beams=1)
        generator = self._og.Generator(self._model, params)
        if self._adapters is not None:
            generator.set_active_adapter(self._adapters, "adapter")
        return generator

    def _append(self, generator: Any, tokens: Sequence[int]) -> None:
        import numpy as np

        try:
            generator.append_tokens(np.array([tokens], np.int32))
        except RuntimeError as error:
            raise ModelError(f"onnxruntime-genai cannot compute {self._path}: {error}") from error
