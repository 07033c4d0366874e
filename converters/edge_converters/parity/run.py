"""The proof from end to end: base and adapters in transformers against the export in its engine."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import StorageError
from edge.system.own_process import in_own_process
from edge_converters.lora.merge import Merged, end_tokens, open_weights
from edge_converters.output import weights_sha256
from edge_converters.parity import judge, probes
from edge_converters.parity.candidate import Candidate, Generated
from edge_converters.parity.engines import Engines
from edge_converters.parity.export import inspect
from edge_converters.parity.measure import Expected, Figures, Probe, compare
from edge_converters.parity.prompts import CONVERSATIONS, Conversation, read_prompts
from edge_converters.parity.reference import Reference
from edge_converters.parity.tensors import BF16_FLOOR, FLOOR, check_tensors
from edge_converters.parity.tensors_gguf import gguf_tensors
from edge_converters.parity.tensors_onnx import onnx_tensors
from edge_converters.parity.tokens import Original, check_template, check_tokens, rare_note
from edge_converters.types import Adapters, AdapterSource, Check, Identity, Parity, Progress, adapter_sources
from edge_converters.weights.checkpoint import Checkpoint


@in_own_process
def check_parity(
    export: Path,
    *,
    base: Path,
    adapters: Adapters = (),
    prompts: Path | None = None,
    exported_base: Path | None = None,
    lengths: Sequence[int] = probes.LENGTHS,
    streamed: bool | None = None,
    progress: Progress | None = None,
) -> Parity:
    """Does an export do what the base with the adapters does?

    The reference is transformers and PEFT in float32 on the originals. A failed check is a result and no error.

    Args:
        export: A GGUF model, an ONNX folder, a LoRA in GGUF or an `.onnx_adapter`.
        base: The original base's folder.
        adapters: PEFT folders, by path or as `AdapterSource` with a weight.
        prompts: A file of the user's own: one a line, or JSON lines with "prompt" or "messages".
        exported_base: What an adapter runs on; None makes a lossless export for the purpose.
        lengths: Of the long prompts, in tokens.
        streamed: Whether the reference's weights are streamed; None: where they do not fit into memory.
        progress: Called as (stage, done, total).

    Returns:
        What was found.

    Raises:
        ConversionError: When the proof cannot be made: bad input, another model's export.
        AdapterError: For an adapter that does not fit.
        ModelError: For an export that is damaged.
        MissingExtra: Where a package is absent.

    Examples:
        >>> edge_converters.check_parity(Path("mine.gguf"), base=Path("phi-3-mini")).passed  # doctest: +SKIP
        True
    """
    started = time.monotonic()
    base, adapters = Path(base), adapter_sources(adapters)
    exported, weights = inspect(Path(export)), open_weights(base, adapters)
    exported.check_base(base, weights.config)
    conversations = [*CONVERSATIONS, *(read_prompts(prompts) if prompts else [])]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_temporary(exported.path.parent))
        context = probes.context_limits(weights.config)
        engines = Engines(exported, base, adapters, context, folder, exported_base, progress)
        proof = _Proof(base, adapters, weights, engines, context, lengths, streamed, progress, stack)
        proof.run(conversations)
    return Parity(
        passed=all(check.passed is not False for check in proof.checks),
        kind=exported.kind,
        precision=engines.runs_on.precision,
        checks=tuple(proof.checks),
        figures=proof.figures,
        export=_identity(exported.path),
        base=Identity(str(base), weights_sha256(base)),
        adapters=tuple(Identity(str(source.path), weights_sha256(source.path)) for source in adapters),
        notes=tuple(proof.notes),
        seconds=round(time.monotonic() - started, 1),
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was asked of the candidate: probes of one kind with the reference's distributions."""

    probes: list[Probe]
    expected: Expected
    plain: Expected | None


class _Proof:
    def __init__(
        self,
        base: Path,
        adapters: Sequence[AdapterSource],
        weights: Checkpoint | Merged,
        engines: Engines,
        context: probes.ContextLimits,
        lengths: Sequence[int],
        streamed: bool | None,
        progress: Progress | None,
        stack: contextlib.ExitStack,
    ) -> None:
        self._base, self._adapters, self._weights = base, adapters, weights
        self._engines, self._context, self._lengths = engines, context, lengths
        self._streamed, self._stack = streamed, stack
        self._progress: Progress = progress or (lambda stage, done, total: None)
        tokenizer = weights.tokenizer if isinstance(weights, Merged) else base
        self._original = Original(tokenizer)
        self._limits = judge.LIMITS.get(engines.runs_on.precision)
        self.checks: list[Check] = []
        self.figures: dict[str, float] = {}
        self.notes: list[str] = []

    def run(self, conversations: Sequence[Conversation]) -> None:
        candidate = self._opened(self._engines.candidate())
        self._check_text(candidate, conversations)
        short_probes, generated = probes.replies(
            self._original, candidate, conversations, self._short_limit(), self._stage("replies")
        )
        short = [*short_probes, *probes.fixed(self._original, self._short_limit())]
        measured = self._references(short)
        pairs = [(measured.expected, measured.plain)]
        [figures] = compare(short, pairs, candidate, self._stage("candidate"))
        self._judge_short(short, figures, measured, candidate, generated)
        self._judge_long(candidate, measured, float(figures.kl.mean()))
        self._check_tensors()

    def _opened(self, candidate: Candidate) -> Candidate:
        self._stack.callback(candidate.close)
        return candidate

    def _short_limit(self) -> int:
        return min(self._context.longest, self._context.longrope_boundary or self._context.longest)

    def _stage(self, name: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress(name, done, total)

    def _check_text(self, candidate: Candidate, conversations: Sequence[Conversation]) -> None:
        rendered = [self._original.renderings(conversation.messages)[0] for conversation in conversations]
        check, notes = check_tokens(self._original, candidate, rendered)
        self.checks.extend([check, check_template(self._original, candidate)])
        self.notes.extend([*notes, *rare_note(self._original, candidate)])

    def _references(self, short_probes: list[Probe]) -> _Measured:
        self._progress("reference", 0, 2)
        reference = Reference(
            self._base,
            self._adapters,
            streamed=self._streamed,
            window=self._has_window(),
            vocabulary=self._weights.config.get("vocab_size"),
        )
        expected = Expected(reference, short_probes)
        self._progress("reference", 1, 2)
        plain = None
        if self._adapters:
            plain = Expected(Reference(self._base, streamed=self._streamed, window=self._has_window()), short_probes)
        self._progress("reference", 2, 2)
        return _Measured(short_probes, expected, plain)

    def _has_window(self) -> bool:
        """llama.cpp attends to everything whatever the model's window is; beyond it the two cannot be compared."""
        return self._engines.runs_on.kind != "gguf"

    def _judge_short(
        self,
        short_probes: list[Probe],
        figures: Figures,
        measured: _Measured,
        candidate: Candidate,
        generated: list[Generated],
    ) -> None:
        limits, base_figures, untouched = self._limits, None, None
        if limits is None:
            base_figures, untouched = self._calibrate(short_probes, measured)
        self.checks.append(judge.stops(short_probes, generated, figures, candidate, end_tokens(self._weights), limits))
        if limits:
            self.checks.extend(judge.divergence(figures, limits))
            self.checks.append(judge.greedy(short_probes, generated, figures, limits))
        elif base_figures is not None:
            self.checks.append(judge.quantisation_loss(figures, base_figures))
        texts = judge.pick(figures, short_probes, "text")
        self.checks.append(judge.perplexity(texts, limits))
        if self._adapters:
            replies_and_texts = judge.pick(figures, short_probes, "reply", "text")
            self.checks.extend(
                judge.adapter_effect(
                    replies_and_texts, judge.pick(untouched, short_probes, "reply", "text") if untouched else None
                )
            )
        self._note_figures(figures, texts, base_figures)

    def _calibrate(self, short_probes: list[Probe], measured: _Measured) -> tuple[Figures, Figures | None]:
        """The same quantisation of the untouched base, against the base and, for the adapter's share, against base
        with adapters.
        """
        untouched = self._opened(self._engines.untouched())
        advance = self._stage("untouched base")
        pairs: list[tuple[Expected, Expected | None]] = [(measured.plain or measured.expected, None)]
        if measured.plain:
            pairs.append((measured.expected, measured.plain))
        alone, *adapted = compare(short_probes, pairs, untouched, advance)
        return alone, adapted[0] if adapted else None

    def _judge_long(self, candidate: Candidate, measured: _Measured, short: float) -> None:
        short_probes = probes.long(self._original, self._context, self._lengths)
        if not short_probes:
            self.checks.append(judge.no_long_prompts(self._context.longest))
            return
        self._progress("long prompts", 0, 2)
        expected = measured.expected.of(short_probes)
        self._progress("long prompts", 1, 2)
        [figures] = compare(short_probes, [(expected, None)], candidate)
        self._progress("long prompts", 2, 2)
        note = ""
        if self._context.window and not self._has_window():
            note = (
                f"; llama.cpp leaves out the model's attention window of {self._context.window:,} tokens, "
                "and so does the reference here"
            )
        self.checks.append(judge.long_prompts(figures, self._limits, short, note))

    def _check_tensors(self) -> None:
        runs_on = self._engines.runs_on
        weights = open_weights(self._base) if self._engines.runs_on_base else self._weights
        if runs_on.kind == "gguf":
            stored = gguf_tensors(runs_on.path, weights)
        else:
            stored = onnx_tensors(runs_on.path, runs_on.graph, weights)
        bfloat16 = any(info.dtype == "BF16" for info in weights.tensors.values())
        floor = BF16_FLOOR if bfloat16 and not runs_on.lossless else FLOOR
        weighted = bool(runs_on.options.get("imatrix"))
        self.checks.append(check_tensors(stored, weighted=weighted, floor=floor, advance=self._stage("tensors")))

    def _note_figures(self, figures: Figures, texts: Figures, base: Figures | None) -> None:
        self.figures.update(
            positions=len(figures.kl),
            mean_kl=float(figures.kl.mean()),
            worst_kl=float(figures.kl.max()),
            top_token=judge.agreement(figures),
            perplexity_ratio=judge.perplexity_ratio(texts),
        )
        if base is not None:
            self.figures.update(untouched_mean_kl=float(base.kl.mean()), untouched_top_token=judge.agreement(base))


@contextlib.contextmanager
def _temporary(beside: Path) -> Iterator[Path]:
    """A folder for what has to be made in between, on the disk of the export: it may be as large."""
    try:
        holder = tempfile.TemporaryDirectory(prefix=".edge-parity-", dir=beside)
    except OSError as error:
        raise StorageError(f"{beside} cannot be written ({error.strerror}), and the proof needs room there") from error
    with holder as folder:
        yield Path(folder)


def _identity(path: Path) -> Identity:
    from edge.system.checksum import sha256_of

    if path.is_file():
        return Identity(str(path), sha256_of(path))
    return Identity(
        str(path),
        {file.relative_to(path).as_posix(): sha256_of(file) for file in sorted(path.rglob("*")) if file.is_file()},
    )
