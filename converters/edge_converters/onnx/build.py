"""The half of `export_onnx` that runs in a process of its own: onnxruntime-genai's model builder, made to stream.

The builder draws the graph; here its weights are read when a layer is drawn, quantised one matrix at a time and
written at once, so that memory holds one layer instead of the model in float32. Adapter slots are drawn on the way.
A job comes as one line of JSON on standard input; progress and failures go out as lines of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConversionError, EdgeError
from edge_converters.lora.merge import open_weights
from edge_converters.onnx.weights import DATA, DataFile, columns, is_quantised, quantise, rows
from edge_converters.types import AdapterSource

if TYPE_CHECKING:
    import torch

_SLOTTED = re.compile(r"/(model/layers\.\d+/(?:attn|mlp)|lm_head)(?:/(\w+))?/MatMul")


class Stream:
    """What replaces four methods of the builder's `Model` for one build.

    `weights` is a Checkpoint or Merged; `slots` says whether every linear layer gets adapter slots; matrices of
    nodes that `int8` matches get eight bits in an int4 build; `report` is called with the number of elements of
    each finished weight.
    """

    def __init__(self, weights: Any, data: DataFile, *, slots: bool, int8: str, report: Callable[[int], None]) -> None:
        self.weights = weights
        self.data = data
        self.slots = slots
        self.int8 = re.compile(int8)
        self.report = report
        self.sources: dict[str, torch.Tensor] = {}

    def attach(self, model: Any) -> None:
        """Put the streaming methods in the place of the builder's own (onnxruntime-genai 0.18, builders/base.py)."""
        self.plain_node, self.plain_initializer = model.make_node, model.make_initializer
        self.plain_load = model.load_weights
        stream = self

        def make_node(self: Any, op_type: str, inputs: Any, outputs: Any, *, name: str, **rest: Any) -> None:
            stream.node(self, op_type, list(inputs), list(outputs), name=name, **rest)

        def make_initializer(self: Any, tensor: Any, /, name: str, **rest: Any) -> None:
            stream.plain_initializer(self, tensor, name, **rest)
            if getattr(tensor, "ndim", 0) == 2 and rest.get("to") is not None:
                stream.sources[name] = tensor

        model.make_node, model.make_initializer = make_node, make_initializer
        model.load_weights = lambda self, path: stream.load(self, path)
        model.save_model = lambda self, out: stream.save(self, Path(out))

    def load(self, model: Any, path: str) -> Any:
        """The transformers model without weights; its `modules()` fills each module while it is drawn."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        auto: Any = AutoModelForCausalLM
        with torch.device("meta"):
            empty = auto.from_config(AutoConfig.from_pretrained(path))
        empty.tie_weights()
        names: dict[int, str] = {}
        for name, parameter in empty.named_parameters(remove_duplicate=False):
            if name in self.weights.tensors:
                names.setdefault(id(parameter), name)
        missing = [name for name, parameter in empty.named_parameters() if id(parameter) not in names]
        if missing or model.quant_type is not None:
            raise ConversionError(
                f"{self.weights.directory} lacks {missing[0]}, which a {model.model_type} has; fetch the model again"
                if missing
                else f"{self.weights.directory} is quantised already ({model.quant_type}); start from the float weights"
            )
        empty.modules = lambda: self.filled(empty, names)
        return empty

    def filled(self, module: torch.nn.Module, names: dict[int, str]) -> Iterator[torch.nn.Module]:
        """Decoder layers whole, and the leaves of everything else, each with its weights while it is looked at."""
        import torch

        if not type(module).__name__.endswith("DecoderLayer") and any(module.children()):
            for child in module.children():
                yield from self.filled(child, names)
            return
        for part in module.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                tensor = self.weights.read(names[id(parameter)])
                setattr(part, name, torch.nn.Parameter(tensor, requires_grad=False))
        yield module
        module.to("meta")

    def node(self, model: Any, op_type: str, inputs: list[str], outputs: list[str], *, name: str, **rest: Any) -> None:
        """Draw a node after its weights were written; a MatMul quantised, and with slots, where they are asked for."""
        if op_type == "MatMul" and self.slots and (found := _SLOTTED.fullmatch(name)):
            outputs = [self.add_slots(model, found, inputs, outputs[0])]
        if op_type == "MatMul" and inputs[1] in self.sources and is_quantised(model, name):
            op_type, inputs, rest = "MatMulNBits", *self.quantised(model, name, inputs)
            name = f"{name}_Q{rest['bits']}"
        for value in inputs:
            self.settle(model, value)
        self.plain_node(model, op_type, inputs, outputs, name=name, **rest)

    def settle(self, model: Any, name: str) -> None:
        """Write the weight of this name, if it is one that was not written yet."""
        import onnx_ir as ir

        value = model.values.get(name)
        if value is None or value.const_value is None or isinstance(value.const_value, ir.ExternalTensor):
            return
        tensor = value.const_value
        source = self.sources.pop(name, None)
        chunks = iter([tensor.numpy()]) if source is None else rows(source, tensor.dtype)
        value.const_value = self.data.put(name, tensor.dtype, tensor.shape, chunks)
        self.report(tensor.size)

    def quantised(self, model: Any, name: str, inputs: list[str]) -> tuple[list[str], dict[str, Any]]:
        """The inputs and attributes of the MatMulNBits in the place of MatMul `name`; its weights are written."""
        import numpy as np
        import onnx_ir as ir

        root, weight = inputs
        source = self.sources.pop(weight)
        model.graph.initializers.pop(weight)
        bits = model.int4_customized_weight_config.get(name, {}).get("bits", model.quant_attrs["bits"])
        bits = 8 if self.int8.search(name) else bits
        parts = [quantise(model, name, weight, chunk, bits) for chunk in columns(source)]
        attributes = {**parts[0][0], "N": source.shape[1]}
        names = [root]
        for new in parts[0][1]:
            arrays = [tensors[new] for _, tensors in parts]
            shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
            dtype = ir.tensor(np.empty(0, arrays[0].dtype)).dtype
            value = model.make_value(new, dtype, shape)
            value.const_value = self.data.put(new, dtype, shape, iter(arrays))
            model.graph.register_initializer(value)
            names.append(new)
        self.report(source.numel())
        return names, {"domain": "com.microsoft", **attributes}

    def add_slots(self, model: Any, found: re.Match[str], inputs: list[str], output: str) -> str:
        """Draw y + concat((x @ A) @ B) around a MatMul and return the name for the output of the MatMul itself.

        A [in, rank] and B [rank, out] are inputs with a default of rank zero, one pair for each of q, k and v
        where they are one matrix: the base alone computes what it computes without slots.
        """
        import numpy as np
        import onnx_ir as ir

        block, module = found.groups()
        prefix, base = (block.replace("/", ".") + ".", f"/{block}/{module}") if module else ("", f"/{block}")
        width = self.sources[inputs[1]].shape
        parts = {module or block: width[1]}
        if module == "qkv_proj":
            parts = {"q_proj": model.q_size, "k_proj": model.kv_size, "v_proj": model.kv_size}
        changes = []
        for part, size in parts.items():
            value = inputs[0]
            shapes = {"lora_A": (width[0], f"{prefix}{part}.rank"), "lora_B": (f"{prefix}{part}.rank", size)}
            for kind, shape in shapes.items():
                slot = model.make_value(f"{prefix}{part}.{kind}.MatMul.weight", model.io_dtype, shape)
                empty = np.empty([side if isinstance(side, int) else 0 for side in shape])
                slot.const_value = ir.tensor(empty.astype(model.io_dtype.numpy()), name=slot.name)
                model.graph.inputs.append(slot)
                model.graph.register_initializer(slot)
                name = f"{base.removesuffix(module or block)}{part}/{kind}/MatMul"
                self.plain_node(model, "MatMul", [value, slot.name], [f"{name}/output_0"], name=name)
                value = f"{name}/output_0"
            changes.append(value)
        if len(changes) > 1:
            self.plain_node(
                model, "Concat", changes, [f"{base}/lora/Concat/output_0"], name=f"{base}/lora/Concat", axis=-1
            )
            changes = [f"{base}/lora/Concat/output_0"]
        self.plain_node(model, "Add", [f"{base}/base/output_0", changes[0]], [output], name=f"{base}/lora/Add")
        return f"{base}/base/output_0"

    def save(self, model: Any, out: Path) -> None:
        import onnx_ir as ir

        for name in list(model.graph.initializers):
            if model.graph.initializers[name] not in model.graph.inputs:
                self.settle(model, name)
        self.data.close()
        _check_whole(model)
        model.model.graph.sort()
        model.stamp_build_metadata(model.model)
        ir.save(model.model, out / "model.onnx")


def _check_whole(model: Any) -> None:
    """Raise ConversionError for a graph that no engine loads: some options of the builder contradict each other."""
    known = {value.name for value in (*model.graph.inputs, *model.graph.initializers.values())}
    known |= {value.name for node in model.graph for value in node.outputs}
    for node in model.graph:
        for value in node.inputs:
            if value is not None and value.name and value.name not in known:
                raise ConversionError(
                    f"the model builder drew {node.name} without its input {value.name}; choose another recipe"
                )


def run(job: dict[str, Any], report: Callable[[int], None]) -> None:
    """Build what `job` asks for: base, adapters, source, out, cache, precision, provider, options, slots."""
    logging.disable(logging.INFO)
    from onnxruntime_genai.models.builder import Model, create_model, parse_extra_options

    adapters = [AdapterSource(Path(path), weight) for path, weight in job["adapters"]]
    weights = open_weights(Path(job["base"]), adapters)
    out = Path(job["out"])
    out.mkdir()
    options = dict(job["options"])
    int8 = options.pop("int8", "$^")
    stream = Stream(weights, DataFile(out / DATA), slots=job["slots"], int8=int8, report=report)
    stream.attach(Model)
    named = (None, job["source"], job["out"], job["precision"], job["provider"], job["cache"])
    pairs = [f"{key}={value}" for key, value in options.items()]
    create_model(*named, **parse_extra_options(*named, pairs))


def main() -> int:
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What the builder prints goes where the parent keeps it for errors.
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def send(**message: Any) -> None:
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    try:
        run(job, lambda elements: send(elements=elements))
    except EdgeError as error:
        send(kind=type(error).__name__, message=str(error))
        return 1
    except OSError as error:
        send(kind="OSError", errno=error.errno, message=str(error))
        return 1
    except Exception as error:  # the boundary to the builder, which raises anything
        send(kind=type(error).__name__, message=str(error))
        raise
    return 0


def _end_with_parent() -> None:
    """Standard input ends when the parent is gone, however it went."""
    # Not through sys.stdin, whose lock would be held when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
