"""The shapes of an exported model under their Hugging Face names: enough to convert a LoRA for it when the model it
was made from is not at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.engines.llamacpp.gguf_header import GgufHeader, read_gguf_header
from edge.engines.memory_fit import read_genai_config
from edge.errors import AdapterError, ConversionError, MissingExtra
from edge_converters.gguf.architectures import read_model
from edge_converters.weights.checkpoint import Checkpoint, TensorInfo

_CLASSES = {
    "phi3": "Phi3ForCausalLM", "llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
}  # fmt: skip
_SLOT = ".lora_A.MatMul.weight"
# What Hugging Face's Phi-3 keeps in one tensor, in the order of its rows.
_FUSED = {"self_attn.qkv_proj": ("q_proj", "k_proj", "v_proj"), "mlp.gate_up_proj": ("gate_proj", "up_proj")}


class ExportedBase(Checkpoint):
    """A GGUF file, or an ONNX folder with adapter slots, with a Checkpoint's face; it has shapes and no weights.

    `half`: the slots of an ONNX folder are float16. Raises AdapterError for a model that takes no adapters.
    """

    def __init__(self, model: Path) -> None:
        self.directory, self.files, self.half = model, [], False
        shapes = self._from_onnx(model) if model.is_dir() else self._from_gguf(read_gguf_header(model))
        self.tensors = {name: TensorInfo(name, "F16", shape, model, 0, 0) for name, shape in shapes.items()}

    def _from_gguf(self, header: GgufHeader) -> dict[str, tuple[int, ...]]:
        settings = header.settings
        architecture = str(settings.get("general.architecture"))
        if architecture not in _CLASSES:
            raise AdapterError(
                f"{self.directory} is of the architecture {architecture!r}, for which edge converts no adapters; "
                "convert the LoRA with llama.cpp's convert_lora_to_gguf.py and name the *.gguf file it writes"
            )

        def setting(name: str, default: Any = None) -> Any:
            return settings.get(f"{architecture}.{name}", default)

        heads = setting("attention.head_count")
        self.config = {
            "architectures": [_CLASSES[architecture]],
            "hidden_size": setting("embedding_length"),
            "intermediate_size": setting("feed_forward_length"),
            "num_hidden_layers": setting("block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": setting("attention.head_count_kv", heads),
            "head_dim": setting("attention.key_length", setting("embedding_length", 0) // (heads or 1)),
            "vocab_size": header.tensors["token_embd.weight"].shape[0],
            "tie_word_embeddings": "output.weight" not in header.tensors,
            "rope_theta": setting("rope.freq_base", 10000.0),
            "original_max_position_embeddings": setting("context_length"),
        }
        model = read_model(self.directory, self.config)
        named = {hf: layer + target.name for hf, (target, layer) in model.targets().items()}
        return {hf: header.tensors[name].shape for hf, name in named.items() if name in header.tensors}

    def _from_onnx(self, folder: Path) -> dict[str, tuple[int, ...]]:
        """A module for every slot; those that Phi-3 fuses are put together again."""
        model = read_genai_config(folder)
        decoder = model["decoder"]
        self.config = {
            "architectures": [_CLASSES.get(str(model["type"]), str(model["type"]))],
            "hidden_size": decoder["hidden_size"],
            "num_hidden_layers": decoder["num_hidden_layers"],
            "num_attention_heads": decoder["num_attention_heads"],
            "num_key_value_heads": decoder["num_key_value_heads"],
            "head_dim": decoder["head_size"],
            "vocab_size": model["vocab_size"],
            "tie_word_embeddings": False,
        }
        slots = self._slots(folder / str(decoder["filename"]))
        if not slots:
            raise AdapterError(
                f"{folder} has no slots for adapters; make a model that has: "
                "edge convert adapter LORA --base BASE --base-out FOLDER -o LORA.onnx_adapter"
            )
        shapes: dict[str, tuple[int, ...]] = {}
        for name, (outs, ins) in slots.items():
            module = name.replace(".attn.", ".self_attn.")
            parent, _, leaf = module.rpartition(".")
            fused = next((k for k, parts in _FUSED.items() if parent.endswith(k.split(".")[0]) and leaf in parts), None)
            if fused and model["type"] == "phi3":
                module = f"{parent}.{fused.split('.')[1]}"
            before = shapes.get(f"{module}.weight", (0, ins))[0]
            shapes[f"{module}.weight"] = (before + outs, ins)
        return shapes

    def _slots(self, file: Path) -> Mapping[str, tuple[int, int]]:
        """(out, in) of every slot by its name, from the graph's inputs; weights are not read."""
        try:
            import onnx
        except ImportError as error:
            raise MissingExtra("onnx", "convert") from error
        try:
            graph = onnx.load(str(file), load_external_data=False).graph
        except (OSError, ValueError) as error:
            raise ConversionError(f"{file} cannot be read: {error}; convert it again") from error
        inputs = {value.name: value.type.tensor_type for value in graph.input}
        self.half = any(
            kind.elem_type == onnx.TensorProto.FLOAT16 for name, kind in inputs.items() if name.endswith(_SLOT)
        )
        lengths = {name: [axis.dim_value for axis in kind.shape.dim] for name, kind in inputs.items()}
        return {
            name.removesuffix(_SLOT): (lengths[name.replace("lora_A", "lora_B")][1], lengths[name][0])
            for name in lengths
            if name.endswith(_SLOT)
        }
