"""What a model takes, against what a process really takes, and what is said when there is too little."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.engines.memory_fit import check_fit, fit_of
from edge.errors import ModelError, ModelNotFound, ModelTooLarge
from edge.system.machine import available_memory, cgroup_memory
from gguf_files import mutants as gguf_mutants
from gguf_files import seeds as gguf_seeds

GROWTH = """
import sys, psutil
from pathlib import Path
import edge, numpy, jinja2.sandbox
from edge.engines.llamacpp.bindings import bindings
bindings()
before = psutil.Process().memory_info().rss
with edge.load(Path(sys.argv[1]), context=2048, threads=1) as model:
    model.generate(" and so on" * 300, sampling=edge.Sampling(max_tokens=2))
    print(psutil.Process().memory_info().rss - before)
"""

LIMITED = """
import resource, sys, psutil
from pathlib import Path
from edge.engines.memory_fit import check_fit
from edge.errors import ModelTooLarge
used = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (used + 200_000_000, used + 200_000_000))
try:
    check_fit(Path(sys.argv[1]), context=4096)
except ModelTooLarge as error:
    print(error)
"""


def child(code: str, path: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_estimate_is_what_a_process_grows_by(smollm_path: Path) -> None:
    grown = int(child(GROWTH, smollm_path))
    needed = fit_of(smollm_path, context=2048).needed
    assert 0.85 * grown < needed < 1.15 * grown


@pytest.mark.skipif(sys.platform == "win32", reason="a limit that only POSIX has")
def test_a_limit_on_the_address_space_counts(smollm_path: Path) -> None:
    said = child(LIMITED, smollm_path)
    free = re.search(r"and (\d+) MB of memory are free", said)
    assert free
    assert int(free[1]) <= 200


def test_the_cache_takes_22_kib_a_token_of_smollm(smollm_path: Path) -> None:
    assert fit_of(smollm_path, context=4096).kv == 4096 * 22.5 * 1024
    assert fit_of(smollm_path).kv == 4096 * 22.5 * 1024
    assert fit_of(smollm_path, context=4096, kv_type="q8_0").kv == 4096 * 22.5 * 1024 * 34 / 64
    assert fit_of(smollm_path).weights == smollm_path.stat().st_size - 1_785_664  # where its tensors begin


def refused(path: Path, context: int, available: int, **options: str) -> str:
    with pytest.raises(ModelTooLarge) as caught:
        check_fit(path, context=context, available=available, **options)
    return str(caught.value)


def test_what_is_advised_fits(smollm_path: Path) -> None:
    needed = fit_of(smollm_path, context=8192).needed
    check_fit(smollm_path, context=8192, available=needed)
    said = refused(smollm_path, 8192, needed - 1)
    assert "337 MB" in said
    assert "--force" in said
    advised = re.search(r"with a context of ([\d,]+)", said)
    assert advised
    context = int(advised[1].replace(",", ""))
    assert 7000 < context < 8192
    check_fit(smollm_path, context=context, available=needed - 1)
    assert "with the KV type q8_0" in said
    check_fit(smollm_path, context=8192, kv_type="q8_0", available=needed - 1)

    tight = fit_of(smollm_path, context=8192, kv_type="q8_0").needed - 1
    said = refused(smollm_path, 8192, tight)
    assert "with the KV type q4_0" in said
    check_fit(smollm_path, context=8192, kv_type="q4_0", available=tight)
    assert "KV type" not in refused(smollm_path, 8192, tight - 80_000_000, kv_type="q4_0")


def test_nothing_is_advised_where_nothing_fits(smollm_path: Path) -> None:
    said = refused(smollm_path, 4096, 10_000_000)
    assert "take a smaller model" in said
    assert "10 MB of memory are free" in said


def test_a_smaller_quantisation_is_advised(tmp_path: Path) -> None:
    made = gguf_mutants.Gguf.read(gguf_seeds.make_seed(tmp_path / "seed.gguf", "llama").read_bytes())
    matrix = next(tensor for tensor in made.tensors if tensor.name == b"blk.0.ffn_up.weight")
    matrix.shape, matrix.data = [64, 800_000], bytes(64 * 800_000 * 4)
    path = tmp_path / "large.gguf"
    path.write_bytes(made.write())
    needed = fit_of(path)
    assert needed.weights == pytest.approx(204_800_000, rel=0.01)
    for left, name in ((0.5, "q8_0"), (0.22, "q6_k"), (0.16, "q4_k_m"), (0.11, "q2_k")):
        said = refused(path, 256, needed.needed - int(needed.weights * (1 - left)))
        weights = re.search(rf"as {name} \(weights of about (\d+) MB\)", said)
        assert weights, said
        assert int(weights[1]) <= 205 * left


def test_layers_on_a_gpu_leave_main_memory_alone(smollm_path: Path) -> None:
    whole = fit_of(smollm_path)
    assert fit_of(smollm_path, gpu_layers="auto").needed == pytest.approx(whole.needed, rel=0.001)
    assert fit_of(smollm_path, gpu_layers="all").weights == 0
    half = fit_of(smollm_path, gpu_layers=16)
    assert half.weights == pytest.approx(whole.weights * 15 / 31, rel=0.01)
    assert half.kv == pytest.approx(whole.kv * 15 / 31, rel=0.01)


def onnx_folder(folder: Path, **decoder: object) -> Path:
    folder.mkdir()
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_size": 16}
    model = {"vocab_size": 100, "context_length": 3000}
    made = {**sizes, "hidden_size": 64, "filename": "model.onnx", **decoder}
    (folder / "genai_config.json").write_text(json.dumps({"model": {**model, "decoder": made}}))
    (folder / "model.onnx").write_bytes(b"past_key_values.0.key\x12\x08\x0a\x04\x08\x01")
    (folder / "model.onnx.data").write_bytes(bytes(5000))
    (folder / "tokenizer.json").write_bytes(bytes(7000))
    return folder


def test_an_onnx_folder_counts_its_files_and_its_cache(tmp_path: Path) -> None:
    folder = onnx_folder(tmp_path / "m")
    fit = fit_of(folder)
    assert fit.weights == 5000 + (folder / "model.onnx").stat().st_size
    assert fit.kv == 3072 * 2 * 2 * 2 * 16 * 4  # tokens, keys and values, layers, heads, their length, float32
    (folder / "model.onnx").write_bytes(b"past_key_values.0.key\x12\x08\x0a\x04\x08\x0a")  # float16
    assert fit_of(folder).kv == fit.kv / 2
    said = refused(folder, 3000, fit.needed - fit.kv)
    assert "KV type" not in said


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        check_fit(tmp_path / "absent.gguf", context=1)
    with pytest.raises(ModelError, match=r"no genai_config\.json"):
        check_fit(tmp_path, context=1)
    with pytest.raises(ModelError, match=r"genai_config\.json is damaged"):
        check_fit(onnx_folder(tmp_path / "a", head_size="many"), context=1)
    folder = onnx_folder(tmp_path / "b")
    for text in ("", "[]", '{"model": 3}', '{"model": {}}', "[" * 100_000):
        (folder / "genai_config.json").write_text(text)
        with pytest.raises(ModelError, match=r"genai_config\.json is damaged"):
            check_fit(folder, context=1)


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_limits_of_control_groups_version_2(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("0::/user/job\n")
    stat = "anon 700\ninactive_file 30\nactive_file 20\nfile 50"
    group(root / "user" / "job", memory__max="max", memory__current=900, memory__stat=stat)
    group(root / "user", memory__max=2000, memory__current=1500, memory__stat=stat)
    group(root)
    assert list(cgroup_memory(root, own)) == [2000 - 1500 + 50]
    group(root, memory__max=1000, memory__current=950, memory__stat=stat)  # a container sees its own limit here
    own.write_text("0::/a/path/of/the/host\n")
    assert list(cgroup_memory(root, own)) == [100]


def test_limits_of_control_groups_version_1(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("9:name=systemd:/\n4:memory:/docker/1\n1:cpu,cpuacct:/\n")
    files = {"memory__limit_in_bytes": 4000, "memory__usage_in_bytes": 3000}
    group(root / "memory" / "docker" / "1", **files, memory__stat="total_inactive_file 200\ntotal_active_file 100")
    assert list(cgroup_memory(root, own)) == [1300]
    assert list(cgroup_memory(root, tmp_path / "absent")) == []


def test_this_machine_has_some_memory() -> None:
    import psutil

    assert 0 < available_memory() <= psutil.virtual_memory().total
