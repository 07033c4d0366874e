"""A sentence-transformers directory of a BERT-shaped model -> one ONNX file that onnxruntime runs fast on a CPU.

The graph is drawn node by node from the safetensors with numpy and onnx, with onnxruntime's fused operators
(https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md): no torch, no tracing, seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge.errors import ConversionError, MissingExtra, StorageError
from edge.system.paths import ensure_dir
from edge_converters.weights.checkpoint import load_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Variant = Literal["fp32", "int8"]

# Part of the name of every cached file and of every encoder's fingerprint: raise it when the graph changes.
VERSION = 1

# RoBERTa counts positions from the padding id on; else it is a BERT.
ARCHITECTURES = ("bert", "roberta", "xlm-roberta", "camembert")

_CONTRIB = "com.microsoft"
_ACTIVATIONS = {
    "gelu": ("Gelu", _CONTRIB),
    "gelu_new": ("FastGelu", _CONTRIB),
    "gelu_fast": ("FastGelu", _CONTRIB),
    "gelu_pytorch_tanh": ("FastGelu", _CONTRIB),
    "relu": ("Relu", ""),
}
# The least value of x * Phi(x), exact or by tanh.
_GELU_LEAST = -0.1701


def can_convert(config: Mapping[str, Any]) -> bool:
    """Whether `config` (a Hugging Face config.json) describes a model that `to_encoder` can draw."""
    plain = config.get("position_embedding_type", "absolute") == "absolute" and not config.get("is_decoder")
    return config.get("model_type") in ARCHITECTURES and plain and config.get("hidden_act") in _ACTIVATIONS


def to_encoder(directory: Path, out: Path, *, variant: Variant = "int8") -> Path:
    """Write the transformer of a sentence-transformers model as one ONNX file.

    The graph takes `input_ids` (int64, [batch, sequence], rows of one length: there is no mask, for onnxruntime's
    attention is faster without) and gives `last_hidden_state` (float32, [batch, sequence, hidden]); pooling is the
    caller's.

    Args:
        directory: A folder with config.json and model.safetensors.
        out: The file; it appears whole or not at all.
        variant: "int8" or "fp32".

    Returns:
        `out`.

    Raises:
        ConversionError: For another architecture or unusable weights.
        MissingExtra: Without onnx and safetensors.
        StorageError: Where `out` cannot be written.

    Examples:
        >>> edge_converters.to_encoder(Path("all-MiniLM-L6-v2"), Path("minilm.onnx")).name
        'minilm.onnx'
    """
    if variant not in ("fp32", "int8"):
        raise ConversionError(f"{variant!r} is no variant of an encoder; choose fp32 or int8")
    config = read_config(directory)
    weights = _read_weights(directory)
    try:
        model = _Graph(config, weights, variant).model()
    except KeyError as error:
        raise ConversionError(
            f"{directory} lacks {error.args[0]}, which a {config['model_type']} model needs; fetch the model again"
        ) from error
    try:
        data = model.SerializeToString()
    except ValueError as error:
        raise ConversionError(
            f"{directory} is larger than the 2 GB that an ONNX file holds; choose a smaller encoder"
        ) from error
    _write_whole(out, data)
    return out


def read_config(directory: Path) -> dict[str, Any]:
    """config.json of `directory`, checked to be a model that `to_encoder` can draw, else ConversionError."""
    path = directory / "config.json"
    config = load_json(path)
    if not isinstance(config, dict) or config.get("model_type") not in ARCHITECTURES:
        kind = config.get("model_type") if isinstance(config, dict) else None
        raise ConversionError(
            f"{directory} holds a model of type {kind!r}; only {', '.join(ARCHITECTURES)} can be converted: "
            "make a folder of another one with: edge convert encoder DIR -o NEW_FOLDER"
        )
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("is_decoder"):
        raise ConversionError(
            f"{path} asks for relative positions or a decoder, which cannot be converted; choose another encoder"
        )
    return config


def refuse_pickle(directory: Path) -> None:
    """Raise ConversionError where the weights of `directory` come as a pickle and not as safetensors."""
    if any(directory.glob("*.bin")) and not any(directory.glob("*.safetensors")):
        raise ConversionError(
            f"{directory} has its weights only as a pickle (.bin), which can run code when it is read; "
            "fetch the model's model.safetensors"
        )


def _read_weights(directory: Path) -> dict[str, NDArray[np.float32]]:
    path = directory / "model.safetensors"
    refuse_pickle(directory)
    if not path.is_file():
        raise ConversionError(f"{path} is missing; fetch the model again")
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtra("safetensors", "encoder") from error
    weights = {}
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (a safe_open handle is no mapping)
                # Checkpoints of 2018 say gamma and beta, and a task model says bert. in front.
                short = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
                weights[short.removeprefix("bert.").removeprefix("roberta.")] = file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise ConversionError(f"{path} is damaged ({error}); fetch the model again") from error
    return weights


def _write_whole(out: Path, data: bytes) -> None:
    ensure_dir(out.parent)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
    except OSError as error:
        raise StorageError(f"cannot write {out} ({error.strerror}); free some space or choose another place") from error
    finally:
        temporary.unlink(missing_ok=True)


def quantize(matrix: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers and the scale of every column.

    CPUs without VNNI (vpmaddubsw) add the products of two neighbouring rows in 16 bits, which saturate above
    255 * 128. So the scale keeps every pair of one sign within 127 together: most columns still use nearly eight
    bits, where a plain limit of seven would cost everyone a whole one, and all CPUs give the same result.
    """
    import numpy as np

    pairs = np.pad(matrix, ((0, len(matrix) % 2), (0, 0))).reshape(-1, 2, matrix.shape[1])
    above, below = np.maximum(pairs, 0).sum(axis=1), np.maximum(-pairs, 0).sum(axis=1)
    scale = np.maximum(np.maximum(above, below).max(axis=0), np.float32(1e-12)) / np.float32(127)
    return np.rint(matrix / scale).astype(np.int8), scale


class _Graph:
    """The nodes and initializers of one encoder as they are drawn.

    Every method adds nodes and returns the name of the value that they give.
    """

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]], variant: Variant) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra("onnx", "encoder") from error
        self.onnx = onnx
        self.config = config
        self.weights = weights
        self.variant = variant
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.quantized: dict[str, list[str]] = {}

    def model(self) -> Any:
        """The whole as an onnx.ModelProto. Raises KeyError with the name of a missing tensor or setting."""
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        hidden = self.embeddings()
        for layer in range(self.config["num_hidden_layers"]):
            hidden = self.layer(f"encoder.layer.{layer}.", hidden)
        self.nodes[-1].output[0] = "last_hidden_state"
        shape = ["batch", "sequence"]
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [helper.make_tensor_value_info("input_ids", kinds.INT64, shape)],
            [helper.make_tensor_value_info("last_hidden_state", kinds.FLOAT, [*shape, self.config["hidden_size"]])],
            [self.onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="edge")

    def embeddings(self) -> str:
        """The sum of word, position and type embeddings, normalised."""
        base = "embeddings."
        positions = self.tensor(base + "position_embeddings.weight")
        if self.config["model_type"] != "bert":
            positions = positions[self.config["pad_token_id"] + 1 :]
        # An encoder sees single texts, so that every token is of type 0: one addition less.
        types = self.tensor(base + "token_type_embeddings.weight")
        inputs = [
            self.node("Cast", ["input_ids"], "ids", domain="", to=self.onnx.TensorProto.INT32),
            "",
            self.constant("word_embeddings", self.tensor(base + "word_embeddings.weight")),
            self.constant("position_embeddings", positions + types[0]),
            "",
            *self.parts(base + "LayerNorm"),
        ]
        return self.node("EmbedLayerNormalization", inputs, "embeddings", "lengths", epsilon=self.epsilon)

    def layer(self, base: str, hidden: str) -> str:
        """One post-norm transformer layer."""
        queries = [self.linear(hidden, f"{base}attention.self.{part}") for part in ("query", "key", "value")]
        heads = self.config["num_attention_heads"]
        context = self.node("MultiHeadAttention", queries, base + "attention", num_heads=heads)
        projected = self.linear(context, base + "attention.output.dense")
        attended = self.add_norm(projected, hidden, base + "attention.output")
        wide = self.activation(self.tokenwise(attended, base + "intermediate.dense"), base + "intermediate")
        least = 0 if self.config["hidden_act"] == "relu" else _GELU_LEAST
        return self.add_norm(self.tokenwise(wide, base + "output.dense", least), attended, base + "output")

    def linear(self, value: str, name: str) -> str:
        """`value` times the weight of the layer `name` plus its bias."""
        if self.variant == "int8":
            return self.tensorwise(value, name)
        weight, bias = self.parts(name)
        self.constant(weight, self.constants[weight].T)
        product = self.node("MatMul", [value, weight], name + ".product", domain="")
        return self.node("Add", [product, bias], name + ".sum", domain="")

    def tensorwise(self, value: str, name: str) -> str:
        """`linear` with `value` as uint8 over its whole range."""
        weight, scale, bias = self.quantized_parts(name)
        if value not in self.quantized:
            self.quantized[value] = [value + part for part in (".q", ".step", ".zero")]
            self.node("DynamicQuantizeLinear", [value], *self.quantized[value], domain="")
        quantized, step, zero = self.quantized[value]
        return self.node("MatMulIntegerToFloat", [quantized, weight, step, scale, zero, "", bias], name + ".sum")

    def tokenwise(self, value: str, name: str, least: float | None = None) -> str:
        """`linear` with every token of `value` as uint8 over a range of its own, for in the feed-forward part
        single tokens are ten times as large as the others.

        The range goes from `least` up, or where that is None as far below zero as above.
        """
        import numpy as np

        if self.variant == "fp32":
            return self.linear(value, name)
        weight, scale, bias = self.quantized_parts(name)
        if least is None:
            shifted, levels, middle = value, 127, 128
            sizes = self.node("Abs", [value], value + ".sizes", domain="")
        else:
            lowest = self.constant("least", np.array(least, np.float32))
            sizes = shifted = self.node("Sub", [value, lowest], value + ".shifted", domain="")
            levels, middle = 255, 0
            lost = least * (self.constants[weight] * self.constants[scale]).sum(axis=0)
            self.constant(bias, self.constants[bias] + lost.astype(np.float32))
        peak = self.node("ReduceMax", [sizes], value + ".peak", domain="", axes=[-1], keepdims=1)
        # A token that relu made all zeros must not become 0 / 0.
        tiny = self.constant("tiny", np.array(1e-12, np.float32))
        above = self.node("Max", [peak, tiny], value + ".above", domain="")
        top = self.constant(f"levels.{levels}", np.array(levels, np.float32))
        step = self.node("Div", [above, top], value + ".step", domain="")
        ratio = self.node("Div", [shifted, step], value + ".ratio", domain="")
        one = self.constant("one", np.array(1, np.float32))
        zero = self.constant(f"zero.{middle}", np.array(middle, np.uint8))
        quantized = self.node("QuantizeLinear", [ratio, one, zero], value + ".q", domain="")
        product = self.node("MatMulIntegerToFloat", [quantized, weight, one, scale, zero], name + ".product")
        scaled = self.node("Mul", [product, step], name + ".scaled", domain="")
        return self.node("Add", [scaled, bias], name + ".sum", domain="")

    def quantized_parts(self, name: str) -> tuple[str, str, str]:
        weight, bias = self.parts(name)
        matrix, scale = quantize(self.constants[weight].T)
        return self.constant(weight, matrix), self.constant(name + ".scale", scale), bias

    def add_norm(self, value: str, skip: str, base: str) -> str:
        """Addition and LayerNormalization apart: onnxruntime 1.31's SkipLayerNormalization takes four times as long."""
        both = self.node("Add", [value, skip], base + ".sum", domain="")
        norm = [both, *self.parts(base + ".LayerNorm")]
        return self.node("LayerNormalization", norm, base + ".normed", domain="", epsilon=self.epsilon)

    def activation(self, value: str, base: str) -> str:
        kind = self.config["hidden_act"]
        if kind not in _ACTIVATIONS:
            raise ConversionError(
                f"the activation {kind!r} cannot be converted; choose an encoder with {', '.join(_ACTIVATIONS)}"
            )
        name, domain = _ACTIVATIONS[kind]
        return self.node(name, [value], base + ".activated", domain=domain)

    def parts(self, base: str) -> list[str]:
        return [self.constant(f"{base}.{part}", self.tensor(f"{base}.{part}")) for part in ("weight", "bias")]

    def node(self, kind: str, inputs: list[str], *outputs: str, domain: str = _CONTRIB, **attributes: Any) -> str:
        node = self.onnx.helper.make_node(kind, inputs, list(outputs), name=outputs[0], domain=domain, **attributes)
        self.nodes.append(node)
        return outputs[0]

    def constant(self, name: str, array: NDArray[Any]) -> str:
        import numpy as np

        self.constants[name] = np.ascontiguousarray(array)
        return name

    def tensor(self, name: str) -> NDArray[np.float32]:
        import numpy as np

        return self.weights[name].astype(np.float32, copy=False)

    @property
    def epsilon(self) -> float:
        return float(self.config["layer_norm_eps"])
