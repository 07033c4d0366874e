"""The run itself: TRL's SFTTrainer over rows that are tokens already, watched so that it can be stopped, killed and
resumed. Imports torch, transformers, PEFT and TRL: import this module where it is used.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer

from edge.errors import StorageError, TuningError
from edge_converters.tuning.checkpoints import (
    best_step,
    has_stalled,
    history_of,
    mark_complete,
    sound_checkpoints,
    step_of,
)
from edge_converters.tuning.plan import TunePlan
from edge_converters.tuning.settings import TuneProgress, TuneSettings
from edge_converters.tuning.tokens import Row


@dataclass(frozen=True, slots=True)
class Run:
    """What a run needs: the base, its rows, the folder for checkpoints, and whom to tell and ask."""

    base: Path
    rows: Sequence[Row]
    held_out: Sequence[Row]
    settings: TuneSettings
    plan: TunePlan
    work: Path
    progress: Callable[[TuneProgress], None]
    stop: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left: the checkpoint to keep, every loss as the trainer noted it, and whether it was stopped early.

    `interrupted` says that the person stopped it and nothing is finished; `here` that this process writes files
    (one of several GPUs' does).
    """

    checkpoint: Path | None
    history: list[dict[str, float]]
    early: bool
    interrupted: bool
    here: bool
    peak_bytes: int


def train(run: Run) -> Finished:
    """Go on from the last good checkpoint, or begin, until the end.

    Raises TuningError when the losses break or the model cannot be loaded, StorageError when a checkpoint cannot be
    written.
    """
    last = sound_checkpoints(run.work)[-1:]
    history = history_of(last[0]) if last else []
    if last and _is_over(history, run):
        return _finished(run, history, interrupted=False, here=True)
    trainer = _trainer(run, resumed=bool(last))
    watch = _Watch(run)
    trainer.add_callback(watch)
    try:
        trainer.train(resume_from_checkpoint=str(last[0]) if last else None)
    except (OSError, RuntimeError) as error:
        raise _explained(error, run) from error
    here = bool(trainer.is_world_process_zero())
    return _finished(run, trainer.state.log_history, interrupted=watch.interrupted, here=here)


def _trainer(run: Run, *, resumed: bool) -> Any:
    settings, plan = run.settings, run.plan
    model = load_base(run.base, settings, plan)
    trainer = SFTTrainer(
        model=model,
        args=_arguments(run, resumed=resumed),
        train_dataset=_dataset(run.rows),
        eval_dataset=_dataset(run.held_out) if run.held_out else None,
        processing_class=_tokenizer(run.base),
        peft_config=LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=list(settings.targets),
            task_type="CAUSAL_LM",
        ),
    )
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            # TRL keeps a QLoRA in bfloat16, where small steps are rounded away.
            parameter.data = parameter.data.float()
    trainer.create_model_card = _nothing  # ours is written once, at the end
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
            trainer.remove_callback(callback)
    return trainer


def load_base(base: Path, settings: TuneSettings, plan: TunePlan) -> Any:
    """The base in `plan.dtype`, or in NF4. Raises TuningError."""
    dtype = getattr(torch, plan.dtype)
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": True}
    if settings.qlora:
        import transformers

        quantised: Any = transformers.BitsAndBytesConfig
        options["quantization_config"] = quantised(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
        options["device_map"] = {"": "cpu" if plan.device == "cpu" else int(os.environ.get("LOCAL_RANK", "0"))}
    try:
        model = AutoModelForCausalLM.from_pretrained(base, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        if settings.qlora:
            raise TuningError(
                f"the base cannot be held in 4 bits here: {reason}; tune it without --qlora, or update bitsandbytes"
            ) from error
        raise TuningError(f"transformers cannot load {base}: {reason}") from error
    if settings.qlora:
        module: Any
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                # bitsandbytes would lay the weights out anew, with coarser scales, when the first held-out loss is
                # computed: a run that is resumed would not go on with the same base.
                module.support_avx512bf16_for_cpu = False
        prepare: Any = prepare_model_for_kbit_training
        model = prepare(model, use_gradient_checkpointing=plan.gradient_checkpointing)
    return model


def _arguments(run: Run, *, resumed: bool) -> Any:
    settings, plan = run.settings, run.plan
    evaluates = bool(run.held_out)
    return SFTConfig(
        output_dir=str(run.work),
        dataset_kwargs={"skip_prepare_dataset": True},
        packing=True,  # rows of several examples, each attending to itself: also where a row is one example
        max_length=plan.max_length,
        per_device_train_batch_size=plan.micro_batch,
        per_device_eval_batch_size=plan.micro_batch,
        gradient_accumulation_steps=plan.accumulate,
        gradient_checkpointing=plan.gradient_checkpointing,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=math.ceil(settings.warmup * plan.steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient,
        seed=settings.seed,
        data_seed=settings.seed,
        use_cpu=plan.device == "cpu",
        bf16=plan.device == "cuda" and plan.dtype == "bfloat16",
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=plan.device == "cuda",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=plan.evaluate_every,
        eval_on_start=evaluates and not resumed,
        metric_for_best_model="eval_loss" if evaluates else None,
        greater_is_better=False if evaluates else None,
        save_strategy="steps",
        save_steps=plan.evaluate_every,
        save_total_limit=2,
        disable_tqdm=True,
        report_to="none",
    )


_NUMBERS = {"loss": "the loss", "grad_norm": "the gradient", "eval_loss": "the held-out loss"}


class _Watch(TrainerCallback):
    """Tells where the run is, stops it where it should, and marks checkpoints that are complete."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loss: float | None = None
        self._held_out: float | None = None
        self.interrupted = False

    def on_log(self, args: Any, state: Any, control: Any, **noted: Any) -> None:
        del args, control
        logs: dict[str, float] = noted["logs"]
        self._held_out = logs.get("eval_loss", self._held_out)
        if "loss" in logs:
            self._loss = logs["loss"]
        for name in _NUMBERS:
            if not math.isfinite(logs.get(name, 0.0)):
                raise _broken(name, logs[name], int(state.global_step), state.log_history, self._run)
        done = int(state.global_step)
        self._run.progress(TuneProgress("tuning", done, int(state.max_steps), self._loss, self._held_out))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args
        if state.global_step >= state.max_steps:
            control.should_save = True
            control.should_evaluate = bool(self._run.held_out)
        elif self._run.stop():
            self.interrupted = control.should_save = control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args
        if has_stalled(state.log_history, self._run.settings.early_stopping_patience):
            control.should_training_stop = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, control
        if not state.is_world_process_zero:
            return
        mark_complete(self._run.work / f"checkpoint-{state.global_step}")


def _finished(run: Run, history: list[dict[str, float]], *, interrupted: bool, here: bool) -> Finished:
    kept = sound_checkpoints(run.work) if here else []
    best = best_step(history)
    chosen = [path for path in kept if step_of(path) == best] or kept[-1:]
    last = max((int(entry["step"]) for entry in history), default=0)
    return Finished(
        checkpoint=chosen[0] if chosen else None,
        history=history,
        early=last < run.plan.steps and not interrupted,
        interrupted=interrupted,
        here=here,
        peak_bytes=_peak_bytes(run.plan.device),
    )


def _is_over(history: Sequence[dict[str, float]], run: Run) -> bool:
    last = max((int(entry["step"]) for entry in history), default=0)
    return last >= run.plan.steps or has_stalled(history, run.settings.early_stopping_patience)


def _broken(what: str, value: float, step: int, history: Sequence[dict[str, float]], run: Run) -> TuningError:
    """Why a run with a loss or gradient that is no number ends here, and what is left of it."""
    before = [entry["loss"] for entry in history if "loss" in entry and entry["step"] < step][-3:]
    if not before:
        why = "and that was the first: the base itself computes no numbers, or the learning rate is far too high"
    else:
        why = f"after losses of {', '.join(f'{loss:.3g}' for loss in before)}: the steps were too large"
    kept = sound_checkpoints(run.work)
    left = f"the last good checkpoint is {kept[-1]}" if kept else "there was no checkpoint yet"
    return TuningError(
        f"{_NUMBERS[what]} became {value} in step {step}, {why}. The learning rate was "
        f"{run.settings.learning_rate:g}; take a third of it with --learning-rate and --restart. Nothing of this step "
        f"was kept; {left}"
    )


def _explained(error: Exception, run: Run) -> Exception:
    """What a trainer's error means to a person; itself where nobody knows."""
    text = str(error)
    writing = "No space left" in text or "PytorchStreamWriter" in text or "file write failed" in text
    if getattr(error, "errno", None) in (28, 122) or writing:
        kept = sound_checkpoints(run.work)
        left = f"the checkpoint of step {step_of(kept[-1])} is whole" if kept else "no checkpoint was written yet"
        free = shutil.disk_usage(run.work).free
        return StorageError(
            f"a checkpoint does not fit on the disk of {run.work} ({free / 1e6:,.0f} MB are free); {left}: free some "
            "space and run the same command again, it goes on from there"
        )
    if "out of memory" in text.lower() or "can't allocate memory" in text:
        return TuningError(
            "the memory does not hold a step; take --qlora, a shorter --max-length, or gradient_checkpointing = true "
            f"in --config. ({text.splitlines()[0][:200]})"
        )
    return error


def _dataset(rows: Sequence[Row]) -> Any:
    import pyarrow

    columns = {
        "input_ids": [row.tokens for row in rows],
        "labels": [row.labels for row in rows],
        "seq_lengths": [row.lengths for row in rows],
    }
    # A fingerprint of its own spares the library pickling everything to find one.
    return Dataset(pyarrow.table(columns), fingerprint=f"edge-{len(rows)}-{time.monotonic_ns()}")


def _tokenizer(base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, local_files_only=True)


def _peak_bytes(device: str) -> int:
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else 1024 * peak)


def _nothing(*_: Any, **__: Any) -> None:
    """In place of what is not wanted."""
