"""Every error that this project raises on purpose.

EdgeError                     one root; its message says what happened, to what, and what to do next
├── UsageError                a setting or an argument that makes no sense
├── MissingExtra              an optional package is not installed; carries its pip line
├── StorageError              a folder or file of ours cannot be read or written
│   └── FileReplaced          another program removed or renamed it while it was open: what was written last is lost
├── ModelError                a model cannot be found, loaded or run
│   ├── ModelNotFound
│   ├── ModelTooLarge         a model that does not fit into memory, with the numbers
│   ├── ModelBusy             no turn came within the queue_timeout; says how many wait
│   ├── ContextOverflow       a prompt that cannot fit, with the numbers
│   └── FormatError           a reply that does not keep to its response_format; carries the reply
├── AdapterError              a LoRA that is unknown, broken or made for another base
├── KnowledgeError            an index that cannot be opened or used
│   ├── DocumentError         one file that cannot be read; the others of its folder still can
│   └── EncoderError          the text encoder cannot be loaded or does not fit the index
├── DataError                 training examples that cannot be read or used
├── ConversionError           weights that cannot be turned into another format
│   └── ParityError           an export that does not behave as its original does
├── TuningError               a LoRA that cannot be tuned
│   └── TuningStopped         the person stopped it; everything is saved
└── DownloadError             `edge models pull` could not finish
"""

from __future__ import annotations

from typing import Any


class EdgeError(Exception):
    """The root of every error that a person is meant to read. Each can be pickled, with what it carries."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[EdgeError], args: tuple[object, ...], carried: dict[str, object]) -> EdgeError:
    """An error as it was: its constructor may take other arguments than the sentence it made of them."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(carried)
    return error


class UsageError(EdgeError):
    pass


class MissingExtra(EdgeError):
    """An optional package is missing.

    `package` is what could not be imported, `extra` the name of the extra of `edge-expert` that brings it, `hint`
    what else there is to know.
    """

    def __init__(self, package: str, extra: str, hint: str = "") -> None:
        from edge.installing import install_command, requirements_of

        command = install_command(*(requirements_of(extra) or (package,)))
        super().__init__(f"{package} is not installed; run: {command}{hint}")
        self.package = package
        self.extra = extra


class StorageError(EdgeError):
    pass


class FileReplaced(StorageError):
    pass


class ModelError(EdgeError):
    pass


class ModelNotFound(ModelError):
    pass


class ModelTooLarge(ModelError):
    pass


class ModelBusy(ModelError):
    """It was nobody's turn within the time that the model's `queue_timeout` allows; so many are `waiting`."""

    def __init__(self, message: str, *, waiting: int) -> None:
        super().__init__(message)
        self.waiting = waiting


class FormatError(ModelError):
    """A reply that is no JSON of the schema that was asked for; `text` is what there is of it, `finish` why it ended:
    "length" where it was cut at its token limit."""

    def __init__(self, message: str, *, text: str, finish: str = "stop") -> None:
        super().__init__(message)
        self.text = text
        self.finish = finish


class ContextOverflow(ModelError):
    """A prompt of `needed` tokens (its reply's reserve included) met a context of `limit` tokens."""

    def __init__(self, message: str, *, needed: int, limit: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.limit = limit


class AdapterError(EdgeError):
    pass


class KnowledgeError(EdgeError):
    pass


class DocumentError(KnowledgeError):
    pass


class EncoderError(KnowledgeError):
    pass


class DataError(EdgeError):
    pass


class ConversionError(EdgeError):
    pass


class ParityError(ConversionError):
    """`export` is what was refused, with its proof; None where a file was only compared."""

    def __init__(self, message: str, *, export: Any = None) -> None:
        super().__init__(message)
        self.export = export


class TuningError(EdgeError):
    pass


class TuningStopped(TuningError):
    pass


class DownloadError(EdgeError):
    pass
