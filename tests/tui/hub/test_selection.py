"""Which files a pull takes, from lists of files as Microsoft, Qwen, bartowski and unsloth publish them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from edge.errors import DownloadError, UsageError
from edge_tui.cli.main import cli
from edge_tui.hub import repository as hub
from edge_tui.hub.catalogue import CATALOGUE
from edge_tui.hub.selection import RemoteFile, Repository, choose

ENCODER = {"modules.json", "config.json", "tokenizer.json", "vocab.txt", "1_Pooling/config.json"}
REST = {"pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "openvino/openvino_model.bin", ".gitattributes"}


def repository(name: str, *paths: str, model_type: str | None = None) -> Repository:
    return Repository(name, "main", tuple(RemoteFile(path, 1, None, None) for path in paths), model_type=model_type)


def chosen(*paths: str, pattern: str | None = None, quantisation: str | None = None) -> str:
    """The GGUF file that is taken of `paths`."""
    ((file, _),) = choose(repository("owner/r", *paths), pattern=pattern, quantisation=quantisation).files
    return file.path


def test_one_gguf_file_among_many() -> None:
    phi = ("Phi-3-mini-4k-instruct-fp16.gguf", "Phi-3-mini-4k-instruct-q4.gguf")
    assert chosen(*phi) == phi[1]
    assert chosen(*phi, quantisation="F16") == phi[0]
    assert chosen(*phi, pattern="*fp16*") == phi[0]
    qwen = [f"qwen2.5-1.5b-instruct-{q}.gguf" for q in ("fp16", "q2_k", "q3_k_m", "q4_0", "q5_k_m", "q8_0")]
    assert chosen(*qwen) == "qwen2.5-1.5b-instruct-q4_0.gguf"
    assert chosen(*qwen[:1], *qwen[4:]) == "qwen2.5-1.5b-instruct-q5_k_m.gguf"
    unsloth = ("a-UD-Q4_K_XL.gguf", "a-Q4_K_M.gguf", "a.BF16.gguf", "a.Q8_0.gguf", "mmproj-F16.gguf")
    assert chosen(*unsloth) == "a-Q4_K_M.gguf"
    assert chosen(*unsloth, quantisation="q8_0") == "a.Q8_0.gguf"
    assert chosen(*unsloth, pattern="*k_xl*") == "a-UD-Q4_K_XL.gguf"
    assert chosen("folder/anything.gguf", "README.md") == "folder/anything.gguf"
    for asked in ({"quantisation": "q6_k"}, {"pattern": "*q6*"}):
        with pytest.raises(DownloadError) as caught:
            chosen(*phi, **asked)
        assert all(name in str(caught.value) for name in phi)
    with pytest.raises(DownloadError, match="several files fit"):
        chosen("a-q4_k_m.gguf", "b-q4_k_m.gguf")
    with pytest.raises(DownloadError, match="no GGUF files"):
        chosen("config.json", "model.safetensors", quantisation="q8_0")
    with pytest.raises(DownloadError, match=r"train\.py"):
        chosen("train.py")


def test_one_onnx_folder_among_many() -> None:
    cpu, precise, gpu = "cpu_and_mobile/cpu-int4-acc-4", "cpu_and_mobile/cpu-int4", "cuda/cuda-fp16"
    every = [f"{folder}/{file}" for folder in (cpu, precise, gpu) for file in ("genai_config.json", "model.onnx.data")]
    phi = repository("owner/phi-onnx", *every, "config.json", "LICENSE")
    with pytest.raises(DownloadError) as caught:
        choose(phi)
    assert all(folder in str(caught.value) for folder in (cpu, precise, gpu))
    for pattern in (f"{cpu}/*", cpu):
        choice = choose(phi, pattern=pattern)
        assert [(file.path, target) for file, target in choice.files] == [
            (f"{cpu}/{name}", f"phi-onnx-cpu-int4-acc-4/{name}") for name in ("model.onnx.data", "genai_config.json")
        ]
    assert choose(repository("owner/phi", *every[2:]), name="mine").target == "mine"


def paths(repository: Repository) -> set[str]:
    return {file.path for file, _ in choose(repository).files}


def test_a_plain_model_without_doubles_and_pickles() -> None:
    wanted = {"config.json", "tokenizer.json", "model.safetensors.index.json", "LICENSE", "README.md"}
    wanted |= {f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}
    rest = REST | {"consolidated.safetensors", "original/model.pth", "modeling_phi3.py"}
    assert paths(repository("owner/phi", *wanted, *rest)) == wanted
    one = {"config.json", "model.safetensors"}
    assert paths(repository("owner/phi", *one, *rest, "model.fp16.safetensors")) == one
    with pytest.raises(DownloadError, match="no safetensors"):
        paths(repository("owner/old", "config.json", "pytorch_model.bin"))


def test_what_an_encoder_needs() -> None:
    weights = {"model.safetensors"}
    every = ENCODER | weights | REST | {"train_script.py", "data_config.json"}
    assert paths(repository("owner/e", *every, model_type="bert")) == ENCODER | weights
    assert paths(repository("owner/e", *every)) == ENCODER | weights
    # The index draws no MPNet: it runs the ONNX file that comes with it.
    assert paths(repository("owner/e", *every, model_type="mpnet")) == ENCODER | {"onnx/model.onnx"}
    with pytest.raises(DownloadError, match="pickle"):
        paths(repository("owner/e", *ENCODER, "pytorch_model.bin", model_type="bert"))


def test_short_names_stand_for_repositories() -> None:
    assert hub.resolve("phi3", None) == ("microsoft/Phi-3-mini-4k-instruct-gguf", None, None)
    assert hub.resolve("Phi3:fp16", None) == ("microsoft/Phi-3-mini-4k-instruct-gguf", None, "fp16")
    assert hub.resolve("smollm2-135m", "q8_0") == ("bartowski/SmolLM2-135M-Instruct-GGUF", None, "q8_0")
    assert hub.resolve("hf.co/a/b:Q4_0", None) == ("a/b", None, "Q4_0")
    for wrong in ("phi", "a/b/c", "/b", "phi99:q8_0"):
        with pytest.raises(UsageError, match="phi4-mini"):
            hub.resolve(wrong, None)
    listed = CliRunner().invoke(cli, ["models", "pull", "--list"])
    for known in CATALOGUE:
        assert hub.resolve(known.name, None)[0] == known.repository
        assert any(known.name in line and known.licence in line for line in listed.stdout.splitlines())
