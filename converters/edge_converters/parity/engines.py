"""Opens what is to be proved in its engine, and the same quantisation of the untouched base beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.errors import ConversionError
from edge_converters.parity.candidate import Candidate
from edge_converters.parity.candidate_gguf import GgufCandidate
from edge_converters.parity.candidate_onnx import OnnxCandidate
from edge_converters.parity.export import Exported, inspect
from edge_converters.parity.probes import ContextLimits
from edge_converters.types import AdapterSource, Progress


class Engines:
    """Opens candidates of one export; what has to be made for them goes into the temporary `folder`.

    `exported_base` is the exported model that an adapter runs on; None makes one without loss.
    """

    def __init__(
        self,
        exported: Exported,
        base: Path,
        adapters: Sequence[AdapterSource],
        context: ContextLimits,
        folder: Path,
        exported_base: Path | None,
        progress: Progress | None,
    ) -> None:
        self._exported, self._base, self._adapters, self._context = exported, base, adapters, context
        self._folder, self._progress = folder, progress
        self.runs_on: Exported = exported
        if exported.kind in ("gguf-lora", "onnx-adapter"):
            if len(adapters) != 1:
                raise ConversionError(f"{exported.path} is one adapter; name the PEFT folder that it was made from")
            self.runs_on = inspect(exported_base or self._lossless_base())
            if self.runs_on.kind != ("gguf" if exported.kind == "gguf-lora" else "onnx"):
                raise ConversionError(f"{exported_base} is no model that {exported.path.name} can run on")

    @property
    def runs_on_base(self) -> bool:
        """Whether the export is an adapter, which runs on another file."""
        return self.runs_on is not self._exported

    def candidate(self) -> Candidate:
        """The export; an adapter is active on its base."""
        adapter = self._exported.path if self.runs_on_base else None
        scale = self._adapters[0].weight if adapter else 1.0
        return self._open(self.runs_on.path, adapter, scale)

    def untouched(self) -> Candidate:
        """The base without adapters, quantised as the export is."""
        if self.runs_on_base:
            return self._open(self.runs_on.path, None, 1.0)
        options = self._exported.options
        if self._exported.kind == "gguf":
            from edge_converters.gguf.export import export_gguf

            out = self._folder / "untouched.gguf"
            imatrix, converter = (options.get(name) and Path(options[name]) for name in ("imatrix", "converter"))
            export_gguf(
                self._base, out, precision=self._exported.precision, imatrix=imatrix, converter=converter,
                progress=self._progress,
            )  # fmt: skip
            return self._open(out, None, 1.0)
        from edge_converters.onnx.export import export_onnx

        out = self._folder / "untouched"
        chosen: dict[str, Any] = {name: options[name] for name in ("provider", "recipe") if name in options}
        chosen["precision"] = self._exported.precision
        export_onnx(self._base, out, progress=self._progress, **chosen)
        return self._open(out, None, 1.0)

    def _lossless_base(self) -> Path:
        if self._exported.kind == "gguf-lora":
            from edge_converters.gguf.export import export_gguf

            out = self._folder / "base.gguf"
            export_gguf(self._base, out, precision="f16", progress=self._progress)
            return out
        from edge_converters.adapter import export_adapter

        out = self._folder / "base"
        again = self._folder / "again.onnx_adapter"
        export_adapter(
            self._adapters[0].path, again, base=self._base, base_out=out, precision="fp32", progress=self._progress
        )
        return out

    def _open(self, path: Path, adapter: Path | None, scale: float) -> Candidate:
        if self.runs_on.kind == "gguf":
            return GgufCandidate(path, adapter=adapter, scale=scale, longrope_boundary=self._context.longrope_boundary)
        if scale != 1.0:
            raise ConversionError("onnxruntime-genai runs adapters at weight 1 only; leave the weight out")
        return OnnxCandidate(path, adapter=adapter, whole=self._context.longrope_boundary is not None)
