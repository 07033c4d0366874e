"""How a run of tuning is set: defaults by the model's size, and what a person says otherwise, in a TOML or by flags."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from edge.errors import UsageError

Schedule = Literal["cosine", "linear", "constant"]
Dtype = Literal["auto", "float32", "bfloat16"]

# From a number of parameters on: rank and learning rate. Small models need more of both to move; the larger ones are
# the values of the QLoRA paper (https://arxiv.org/abs/2305.14314, table 9) and of PEFT's examples.
_BY_SIZE = ((0, 16, 1e-3), (500_000_000, 16, 3e-4), (2_000_000_000, 16, 2e-4), (10_000_000_000, 32, 1e-4))
# Old names that are still taken, for one release.
_OLD_NAMES = {"patience": "early_stopping_patience"}


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """Everything that decides how a LoRA is tuned.

    `batch` is examples a step, `max_length` the most tokens of an example (0: as long as the longest one),
    `held_out` the share of the examples that is not learnt from, `evaluations` how often in a run its loss is
    computed (and a checkpoint kept), `early_stopping_patience` after how many of them without a better one the run
    ends (0: never). `warmup` is the share of the steps in which the learning rate rises. `targets` are names of
    modules, or "all-linear". `gradient_checkpointing` None decides by the memory. `skip_long` leaves out examples that
    are longer than `max_length`.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = ("all-linear",)
    qlora: bool = False
    dtype: Dtype = "auto"
    learning_rate: float = 2e-4
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    weight_decay: float = 0.0
    max_gradient: float = 1.0
    epochs: float = 3.0
    batch: int = 8
    max_length: int = 0
    packing: bool = True
    skip_long: bool = False
    gradient_checkpointing: bool | None = None
    held_out: float = 0.1
    evaluations: int = 10
    early_stopping_patience: int = 3
    seed: int = 7


@dataclass(frozen=True, slots=True)
class TuneProgress:
    """Where a run is: `done` of `total` steps, the loss of the last one, and that of what is held out so far."""

    stage: str
    done: int
    total: int
    loss: float | None = None
    held_out: float | None = None


def settle(parameters: int, *overrides: Mapping[str, Any]) -> TuneSettings:
    """The settings for a model of so many parameters; later overrides win, None says nothing. Raises UsageError."""
    _, rank, rate = [entry for entry in _BY_SIZE if parameters >= entry[0]][-1]
    chosen: dict[str, Any] = {}
    for mapping in overrides:
        chosen.update({key: _valid(key, value) for key, value in _renamed(mapping).items() if value is not None})
    chosen.setdefault("rank", rank)
    chosen.setdefault("alpha", 2 * chosen["rank"])
    chosen.setdefault("learning_rate", rate)
    settings = TuneSettings(**chosen)
    _check(settings)
    return settings


def read_settings(file: Path) -> dict[str, Any]:
    """What a TOML says: the names of `TuneSettings` as keys. Raises UsageError for what is no setting."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read as TOML: {error}; correct it or leave --config out") from error
    return {key: _valid(key, value) for key, value in _renamed(content).items()}


def _renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, those of an older version under their names of today."""
    return {_OLD_NAMES.get(key, key): value for key, value in settings.items()}


def _valid(key: str, value: Any) -> Any:
    """The value in its setting's type."""
    known = {field.name: field.type for field in dataclasses.fields(TuneSettings)}
    if key not in known:
        raise UsageError(f"{key!r} is no setting of tuning; there are: {', '.join(known)}")
    kind = str(known[key])
    choices = {"Schedule": get_args(Schedule), "Dtype": get_args(Dtype)}.get(kind)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if choices and value in choices:
        return value
    if kind.startswith("bool") and isinstance(value, bool):
        return value
    if kind == "int" and isinstance(value, int) and number:
        return value
    if kind == "float" and number:
        return float(value)
    if kind.startswith("tuple"):
        names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
        if names and all(isinstance(name, str) and name for name in names):
            return names
    wanted = {"int": "a whole number", "float": "a number", "bool": "true or false", "bool | None": "true or false"}
    raise UsageError(f"{key} = {value!r}: it must be {' or '.join(choices or [wanted.get(kind, 'a list of names')])}")


def _check(settings: TuneSettings) -> None:
    """Raises UsageError for a number that makes no sense."""
    positive = ("rank", "alpha", "learning_rate", "epochs", "batch", "evaluations", "max_gradient")
    for name in positive:
        if not getattr(settings, name) > 0:
            raise UsageError(f"{name} is {getattr(settings, name)} and must be more than 0")
    for name, most in (("dropout", 0.95), ("held_out", 0.9), ("warmup", 1.0)):
        if not 0 <= getattr(settings, name) <= most:
            raise UsageError(f"{name} is {getattr(settings, name)} and must be between 0 and {most:g}")
    for name in ("max_length", "early_stopping_patience", "weight_decay", "seed"):
        if getattr(settings, name) < 0:
            raise UsageError(f"{name} is {getattr(settings, name)} and must not be less than 0")
