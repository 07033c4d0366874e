"""What must not become a GGUF file, and what is left on the disk when a conversion dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import edge
import peft_oracle
import standin
import upstream
import vocabularies
from edge.errors import ConversionError
from edge_converters.gguf.export import export_gguf
from edge_converters.output import read_manifest
from edge_converters.parity.candidate_gguf import GgufCandidate
from edge_converters.types import AdapterSource

Weights = dict[str, torch.Tensor]


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A random model that can be converted."""
    return vocabularies.write_bytes(standin.make_tiny(tmp_path / "model", "llama", vocab_size=320))


def refused(model: Path, out: Path, message: str) -> str:
    before = set(out.parent.iterdir())
    with pytest.raises(ConversionError, match=message) as caught:
        export_gguf(model, out)
    assert set(out.parent.iterdir()) == before
    return str(caught.value)


def rewrite(model: Path, change: Callable[[Weights], object]) -> None:
    file = model / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


def reconfigure(model: Path, **settings: Any) -> None:
    file = model / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def test_another_architecture_is_refused_with_what_is_supported(tmp_path: Path) -> None:
    model = standin.make_tiny(tmp_path / "model", "gpt2")
    message = refused(model, tmp_path / "out.gguf", "GPT2LMHeadModel")
    for word in ("Phi-3", "Llama 2 and 3", "SmolLM2", "Mistral", "Qwen3", "--converter PATH"):
        assert word in message


def test_experts_are_refused(llama: Path, tmp_path: Path) -> None:
    reconfigure(llama, num_local_experts=8)
    refused(llama, tmp_path / "out.gguf", "cannot convert to GGUF itself")


def test_a_quantised_model_is_refused(llama: Path, tmp_path: Path) -> None:
    reconfigure(llama, quantization_config={"quant_method": "gptq", "bits": 4})
    refused(llama, tmp_path / "out.gguf", r"quantised already \(gptq\)")


def test_weights_in_eight_bits_are_refused(llama: Path, tmp_path: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    rewrite(llama, lambda weights: weights.update({name: weights[name].to(torch.float8_e4m3fn)}))
    refused(llama, tmp_path / "out.gguf", f"{name} in .* is of the type F8_E4M3")


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"rope_type": "linear", "factor": 2.0}, "cannot be used: ValueError: .* got linear"),
        ({"rope_type": "longrope", "long_factor": [1.0] * 8}, "Missing required keys .*short_factor"),
        ({"rope_type": "longrope", "long_factor": [1.0] * 8, "short_factor": [1.0] * 7}, "must have length 8, got 7"),
    ],
)
def test_a_rope_that_cannot_be_said_is_refused(tmp_path: Path, rope: dict[str, Any], message: str) -> None:
    model = vocabularies.write_bytes(standin.make_tiny(tmp_path / "model", "phi3", vocab_size=320))
    reconfigure(model, rope_parameters={"rope_theta": 1e4, **rope}, original_max_position_embeddings=128)
    refused(model, tmp_path / "out.gguf", message)


def test_a_rope_that_llama_cpp_does_not_know_is_refused(llama: Path, tmp_path: Path) -> None:
    reconfigure(llama, rope_parameters={"rope_type": "proportional", "rope_theta": 1e4})
    refused(llama, tmp_path / "out.gguf", "scales its rope by 'proportional'; a Llama model can be converted with")


def test_a_missing_tensor_is_named(llama: Path, tmp_path: Path) -> None:
    rewrite(llama, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    refused(llama, tmp_path / "out.gguf", r"lacks model\.layers\.1\.mlp\.up_proj\.weight, which a Llama model needs")


def test_an_output_that_is_not_tied_must_be_there(llama: Path, tmp_path: Path) -> None:
    rewrite(llama, lambda weights: weights.pop("lm_head.weight"))
    refused(llama, tmp_path / "out.gguf", r"lacks lm_head\.weight")


def test_an_unknown_tensor_is_named(llama: Path, tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.sinks"
    rewrite(llama, lambda weights: weights.update({name: torch.zeros(4)}))
    refused(llama, tmp_path / "out.gguf", f"holds {name}, which a Llama model does not have: it would be lost")


def test_another_shape_is_named(llama: Path, tmp_path: Path) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    rewrite(llama, lambda weights: weights.update({name: weights[name][:, :64].contiguous()}))
    refused(llama, tmp_path / "out.gguf", rf"{name} in .* is \[64, 64\] where .* asks for \[64, 128\]")


def test_numbers_beyond_float16_are_refused_and_bfloat16_takes_them(llama: Path, tmp_path: Path) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    rewrite(llama, lambda weights: weights[name].__setitem__((3, 5), 1e5))
    message = refused(llama, tmp_path / "out.gguf", f"{name} has numbers beyond what float16 holds")
    assert "bf16" in message
    export_gguf(llama, tmp_path / "out.gguf", precision="bf16")


def test_buffers_of_old_checkpoints_are_passed_over(llama: Path, tmp_path: Path) -> None:
    export_gguf(llama, tmp_path / "without.gguf")
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    rewrite(llama, lambda weights: weights.update({name: torch.zeros(8)}))
    export_gguf(llama, tmp_path / "with.gguf")
    assert upstream.read_gguf(tmp_path / "with.gguf")[1] == upstream.read_gguf(tmp_path / "without.gguf")[1]


def test_a_strange_model_card_stops_nothing(llama: Path, tmp_path: Path) -> None:
    (llama / "README.md").write_text("---\nlicense: [mit\n---\n")
    export_gguf(llama, tmp_path / "out.gguf")
    assert upstream.read_gguf(tmp_path / "out.gguf")[0]["general.name"]


def test_the_manifest_names_what_was_made_from_what(llama: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    out = tmp_path / "out.gguf"
    export = export_gguf(llama, out, precision="q8_0", progress=lambda *step: seen.append(step))
    done = subprocess.run(["sha256sum", str(out), str(llama / "model.safetensors")], capture_output=True, text=True)
    digests = [line.split()[0] for line in done.stdout.splitlines()]
    content = read_manifest(out)
    assert content is not None
    assert [export.sha256, content["base"]["sha256"]["model.safetensors"]] == digests
    assert content["output"]["sha256"] == digests[0]
    assert content["options"]["precision"] == "q8_0"
    assert seen[-1][1] == seen[-1][2] > 0.8 * out.stat().st_size


def test_the_users_converter_is_run_on_the_merged_model(starter_home: Path, stand_in: Path, tmp_path: Path) -> None:
    checkout = upstream.sources(starter_home)
    base = standin.make_tiny(tmp_path / "phi3", "phi3", tokenizer=stand_in, vocab_size=49152)
    adapter = peft_oracle.make_adapter(base, tmp_path / "lora", target_modules=peft_oracle.FUSED)
    ours, theirs, plain = (tmp_path / f"{name}.gguf" for name in ("ours", "theirs", "plain"))
    export_gguf(base, ours, adapters=[AdapterSource(adapter.path)], precision="f32")
    export_gguf(base, theirs, adapters=[AdapterSource(adapter.path)], precision="f32", converter=checkout)
    upstream.assert_same(ours, theirs)
    # As Phi-3's the tokenizer would lose its tokens, and with them llama.cpp the file.
    assert upstream.read_gguf(theirs)[0]["general.name"] == "Phi 3"
    GgufCandidate(theirs).close()
    export_gguf(base, plain, precision="f32")
    assert upstream.read_gguf(plain)[1] != upstream.read_gguf(ours)[1]
    assert not list(tmp_path.glob(".*"))


def test_what_the_users_converter_says_is_passed_on(llama: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "llama.cpp"
    checkout.mkdir()
    with pytest.raises(ConversionError, match=r"llama\.cpp has no convert_hf_to_gguf\.py"):
        export_gguf(llama, tmp_path / "out.gguf", converter=checkout)
    (checkout / "convert_hf_to_gguf.py").write_text("raise SystemExit('Model Llama is too new')")
    with pytest.raises(ConversionError, match=r"could not convert .*: Model Llama is too new"):
        export_gguf(llama, tmp_path / "out.gguf", converter=checkout)
    assert not (tmp_path / "out.gguf").exists()


_CONVERT = """
import sys
from pathlib import Path
from edge_converters import output
from edge_converters.gguf.export import export_gguf
from edge.errors import EdgeError
output._check_free_space = lambda folder, needs: None
try:
    export_gguf(Path(sys.argv[1]), Path(sys.argv[2]), precision=sys.argv[3])
except EdgeError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(("precision", "megabytes"), [("f16", 6), ("q4_0", 2)])
def test_a_disk_that_runs_full_is_said_and_left_clean(tmp_path: Path, precision: str, megabytes: int) -> None:
    """The file has 9 MB in f16 and 2.6 MB in q4_0."""
    sizes = {"hidden_size": 512, "intermediate_size": 1024, "vocab_size": 320}
    model = vocabularies.write_bytes(standin.make_tiny(tmp_path / "model", "llama", **sizes))
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = f'mount -t tmpfs -o size={megabytes}m none "$1" && shift && "$@"; ls -A "$0"'
    command = ["unshare", "-rm", "sh", "-c", inside, str(disk), str(disk)]
    if shutil.which("unshare") is None or subprocess.run([*command[:2], "true"], capture_output=True).returncode:
        pytest.skip("no small disk can be made without the rights for a mount namespace")
    command += [sys.executable, "-c", _CONVERT, str(model), str(disk / "out.gguf"), precision]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout + done.stderr
    assert lines[0].startswith("StorageError the disk of")


def test_a_killed_conversion_leaves_nothing_that_looks_whole(stand_in: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    for precision in ("f16", "q4_k_m"):
        command = [sys.executable, "-c", _CONVERT, str(stand_in), str(out), precision]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not any(path.stat().st_size > 1 << 20 for path in tmp_path.glob(f".out.gguf*{process.pid}*/out.gguf")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    export_gguf(stand_in, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.gguf", "out.manifest.json"]
    with edge.load(str(out), context=256) as model:
        assert "Paris" in model.generate([edge.Message("user", "What is the capital of France?")]).text
