"""Reading PEFT directories: ranks, scales and modules as PEFT itself has them, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft")

import torch
from safetensors.torch import load_file

import peft_oracle as peft
from edge.errors import AdapterError, ConversionError
from edge_converters.lora.peft_adapter import Lora
from edge_converters.lora.targets import targeted
from peft_oracle import APART, CONV1D, FUSED

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "list": ("phi3", {"target_modules": FUSED}),
    "one module": ("phi3", {"target_modules": ["layers.1.mlp.down_proj"]}),
    "suffix is no substring": ("llama", {"target_modules": ["k_proj"]}),
    "expression": ("llama", {"target_modules": r"model\.layers\.[01]\.self_attn\.[qv]_proj"}),
    "expression and excluded": ("llama", {"target_modules": r".*_proj", "exclude_modules": r".*\.1\..*"}),
    "all linear": ("llama", {"target_modules": "all-linear"}),
    "all linear of gpt2": ("gpt2", {"target_modules": "all-linear"}),
    "excluded": ("llama", {"target_modules": APART, "exclude_modules": ["q_proj", "model.layers.0.mlp.up_proj"]}),
    "one layer": ("llama", {"target_modules": APART, "layers_to_transform": 1}),
    "layers of gpt2": ("gpt2", {"target_modules": CONV1D, "layers_to_transform": [0], "layers_pattern": "h"}),
    "saved is not adapted": ("llama", {"target_modules": ["q_proj", "lm_head"], "modules_to_save": ["lm_head"]}),
    "embedding": ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
    "patterns": (
        "llama",
        {
            "target_modules": APART,
            "rank_pattern": {"layers.1.self_attn.q_proj": 3, "q_proj": 5, r".*\.mlp\..*": 2, "k_proj": 7},
            "alpha_pattern": {"_proj": 1, "o_proj": 11, "^model.layers.0.mlp.up_proj": 13},
            "use_rslora": True,
        },
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_modules_ranks_and_scales_are_those_of_peft(case: str, tiny_model: Any, tmp_path: Path) -> None:
    architecture, config = CONFIGS[case]
    base = tiny_model(architecture)
    adapter = peft.make_adapter(base, tmp_path / "lora", r=6, lora_alpha=15, **config)
    assert adapter.modules
    lora = Lora(adapter.path)
    assert {name: (module.rank, module.scale) for name, module in lora.modules.items()} == adapter.modules
    tensors = load_file(base / "model.safetensors")
    matrices = [name.removesuffix(".weight") for name, tensor in tensors.items() if tensor.ndim == 2]
    linear = [name for name in matrices if not name.endswith(("embed_tokens", "lm_head", "wte", "wpe"))]
    # As it was given, and as PEFT saved it, which is not the same for "all-linear".
    for said in ({**lora.config, **config}, lora.config):
        assert targeted(said, matrices, linear=linear) == set(adapter.modules)


# Two of the forms over which `re`, and `regex` without its clock, try every way to part a name.
_HOSTILE = (r"(?:a|b|[a-z]|[_.\d]|\w)*(?<=X)", r"(?:(?:[a-z]|[_.\d]|\w)+)+(?<![a-z])")


def test_a_hostile_expression_does_not_hang() -> None:
    """A thread would hang with it for ever, so that a process is asked, which can be ended."""
    code = (
        "import json, sys; from edge_converters.lora.patterns import PatternError\n"
        "from edge_converters.lora.targets import targeted\n"
        "names = [f'model.layers.{n}.self_attn.some_very_long_projection_q' for n in range(40)]\n"
        "for config in json.loads(sys.stdin.read()):\n"
        "  try: print(len(targeted(config, names, linear=names)))\n"
        "  except PatternError as error: print(error)"
    )
    settings = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")
    plain: dict[str, Any] = {"target_modules": ["some_very_long_projection_q"], "layers_to_transform": [0]}
    configs = [
        {**plain, setting: [pattern] if setting == "modules_to_save" else pattern}
        for pattern in (*_HOSTILE, "(" * 300 + ")" * 300, "a" * 100_000)
        for setting in settings
    ]
    asked = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(configs), capture_output=True, text=True, timeout=300
    )
    said = asked.stdout.splitlines()
    assert len(said) == len(configs), asked.stderr
    assert all("takes too long to match model.layers.0" in line for line in said[:7])
    assert all("has 100,000 characters" in line for line in said[-4:])


@pytest.mark.parametrize("setting", ["rank_pattern", "alpha_pattern", "modules_to_save"])
def test_a_hostile_expression_for_ranks_is_refused_by_name(setting: str, plain: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(plain, tmp_path / "changed")
    config = json.loads((plain / "adapter_config.json").read_text())
    hostile = [_HOSTILE[0]] if setting == "modules_to_save" else {_HOSTILE[0]: 4}
    (changed / "adapter_config.json").write_text(json.dumps({**config, setting: hostile}))
    with pytest.raises(AdapterError, match=f"has a {setting} that is no usable regular expression .* takes too long"):
        Lora(changed).saves("model.layers.0.self_attn.o_proj")


def test_an_adapter_with_a_name_is_found_in_its_folder(tiny_model: Any, tmp_path: Path) -> None:
    base = tiny_model("phi3")
    adapter = peft.make_adapter(base, tmp_path / "saved", name="handbook", target_modules=FUSED)
    assert not (tmp_path / "saved" / "adapter_config.json").exists()
    assert Lora(tmp_path / "saved").directory == tmp_path / "saved" / "handbook"
    assert len(Lora(tmp_path / "saved").modules) == len(adapter.modules)
    shutil.copytree(tmp_path / "saved" / "handbook", tmp_path / "saved" / "other")
    with pytest.raises(AdapterError, match="2 adapters \\(handbook, other\\)"):
        Lora(tmp_path / "saved")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import standin

    folder = tmp_path_factory.mktemp("plain")
    base = standin.make_tiny(folder / "base")
    return peft.make_adapter(base, folder / "lora", target_modules=["o_proj"]).path


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
        ({"peft_type": "ADALORA"}, "ADALORA"),
        ({"alora_invocation_tokens": [1, 2]}, "invocation tokens"),
        ({"layer_replication": [[0, 1], [0, 2]]}, "replicates layers"),
        ({"target_parameters": ["mlp.experts.down_proj"]}, "single parameters"),
        ({"use_qalora": True}, "QA-LoRA"),
        ({"use_bdlora": {"nblocks": 2}}, "block-diagonal"),
        ({"arrow_config": {}, "kasa_config": {"beta": 1e-4}}, "KaSA"),
        ({"init_lora_weights": "pissa"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"init_lora_weights": "corda"}, "corda"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"use_dora": True}, "lora_magnitude_vector"),
        ({"r": 0}, "r = 0"),
        ({"rank_pattern": {"o_proj(": 4}}, "regular expression"),
        ({"r": 4}, "says 4"),
    ],
)
def test_what_no_merged_weight_can_say_is_refused(
    settings: dict[str, Any], reason: str, plain: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(plain, tmp_path / "changed")
    config = json.loads((plain / "adapter_config.json").read_text())
    (changed / "adapter_config.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(AdapterError) as caught:
        Lora(changed)
    assert reason in str(caught.value)
    assert str(changed) in str(caught.value)


@pytest.mark.parametrize("init", [True, False, "gaussian", "eva", "orthogonal"])
def test_starts_that_leave_the_base_alone_are_read(init: object, plain: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(plain, tmp_path / "changed")
    config = json.loads((plain / "adapter_config.json").read_text())
    (changed / "adapter_config.json").write_text(json.dumps({**config, "init_lora_weights": init}))
    assert len(Lora(changed).modules) == 2


def test_a_pickle_is_refused_with_a_way_to_convert_it(plain: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(plain, tmp_path / "pickled")
    safe = folder / "adapter_model.safetensors"
    torch.save(load_file(safe), folder / "adapter_model.bin")
    safe.unlink()
    with pytest.raises(AdapterError, match="pickle") as caught:
        Lora(folder)
    command = str(caught.value).split('python -c "')[1].split('"')[0]
    exec(command, {})  # The sentence's own command makes the adapter readable.
    assert Lora(folder).modules.keys() == Lora(plain).modules.keys()


def test_folders_without_an_adapter_say_what_is_missing(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no folder"):
        Lora(tmp_path / "absent")
    with pytest.raises(AdapterError, match=r"no adapter_config\.json"):
        Lora(tmp_path)
    folder = shutil.copytree(plain, tmp_path / "no-weights")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors is missing"):
        Lora(folder)
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(ConversionError, match=r"adapter_config\.json is not JSON"):
        Lora(folder)
