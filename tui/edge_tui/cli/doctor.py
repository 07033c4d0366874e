"""`edge doctor`: what is here, what is missing, and the line that puts it right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge.errors import EdgeError
from edge.installing import install_command, requirements_of
from edge_tui.terminal import message, visible_name

EXTRAS = {
    "gguf": ("llama-cpp-python",),
    "encoder": ("onnx", "safetensors"),
    "onnx": ("onnxruntime-genai",),
    "hub": ("huggingface-hub",),
    "convert": ("torch", "transformers", "peft", "gguf", "onnx-ir"),
}
PACKAGES = ("edge-expert", "numpy", "onnxruntime", "tokenizers", "hnswlib", "textual")
IN_ITS_PLACE = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-directml"),
    "onnxruntime-genai": ("onnxruntime-genai-cuda", "onnxruntime-genai-directml"),
}
"""Packages that bring the same modules for a GPU."""
NEEDED = ("gguf", "encoder")
"""The extras without which nothing answers: the rest is for conversion and for other engines."""


@click.command(epilog="Example: edge doctor --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Look whether everything is in place to ask and chat; exit code 1 and what to do when it is not.

    Settings, model, index and text encoder are opened as `edge ask` opens them: where it would refuse, its words stand
    under Problems. What only keeps another model from running stands under Notes.
    """
    from edge_tui.cli.output import print_json

    found = examine()
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found["problems"]:
        raise click.exceptions.Exit(1)


def examine() -> dict[str, Any]:
    """The facts, and under `problems` a sentence for everything that keeps edge from answering."""
    import os
    import platform

    import psutil

    from edge import library
    from edge.system import offline
    from edge.system.machine import available_memory, physical_cores
    from edge_tui.cli.output import to_jsonable
    from edge_tui.cli.reports import readiness

    packages = {name: _version(name) for name in (*PACKAGES, *sum(EXTRAS.values(), ()))}
    memory, available = psutil.virtual_memory(), available_memory()
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": physical_cores(),
        "memory": {"total": memory.total, "available": available, "limited": available < memory.available // 2},
        "packages": packages,
        "missing": {
            extra: [name for name in names if packages[name] is None]
            for extra, names in EXTRAS.items()
            if any(packages[name] is None for name in names)
        },
        "gpu_offload": _gpu_offload() if packages["llama-cpp-python"] else None,
        "gpus": [],
        "onnx_providers": _providers() if packages["onnxruntime-genai"] else [],
        "data": _data_directory(),
        "models": to_jsonable(library.models()),
        "encoders": to_jsonable(library.encoders()),
        "indexes": to_jsonable(library.indexes()),
        "offline": {name: os.environ.get(name) for name in offline.ENVIRONMENT},
    }
    if found["gpu_offload"]:
        from edge.engines.gpu import gpus

        found["gpus"] = [{"name": name, "free": free} for name, free in gpus()]
    used = readiness.used_model()
    found["use"], unusable = _use(found)
    found["notes"] = [said for path, said in unusable if used is not None and path != used]
    found["problems"] = _problems(found, used) + ([said for _, said in unusable] if used is None else [])
    return found


def _providers() -> list[str]:
    """Where onnxruntime-genai can compute, best first; empty when it is installed and cannot be imported."""
    from edge.engines.onnx.bindings import providers

    try:
        return providers(None)
    except (EdgeError, ImportError, OSError, AttributeError):
        return []


def _use(found: dict[str, Any]) -> tuple[list[dict[str, Any]], list[tuple[Path, str]]]:
    """What every model will run on, and a sentence for each that will not run."""
    from edge import library

    rows, problems = [], []
    for entry in library.models():
        path = Path(entry.path)
        try:
            rows.append({"name": entry.name, **_use_of(path, found)})
        except EdgeError as error:
            problems.append((path, str(error)))
            continue
        if not rows[-1]["fits"]:
            problems.append((path, _too_large(path, rows[-1]["context"])))
    return rows, problems


def _use_of(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    from edge.engines.memory_fit import default_context, fit_of, needs_of

    context = default_context(needs_of(path))
    layers, gpu = None, ""
    if path.is_dir():
        engine, providers = "onnx", found["onnx_providers"]
        device = {"cpu": "CPU", "cuda": "CUDA", "dml": "DirectML"}.get(providers[0], "CPU") if providers else None
    else:
        engine, device = "gguf", None if found["gpu_offload"] is None else "CPU"
        if found["gpus"]:
            from edge.engines.gpu import offloaded

            layers, gpu = offloaded(path, None, context=context, kv_type="f16")
            device = f"{gpu}, {'all' if layers < 0 else layers} layers" if gpu else device
    if device == "CPU":
        device = f"CPU, {found['cores']} thread{'s' if found['cores'] > 1 else ''}"
    fit = fit_of(path, context=context, gpu_layers="all" if layers is not None and layers < 0 else layers)
    return {"engine": engine, "device": device, "context": context, "needed": fit.needed, "fits": fit.fits}


def _too_large(path: Path, context: int) -> str:
    from edge.engines.memory_fit import check_fit
    from edge.errors import ModelTooLarge

    try:
        check_fit(path, context=context)
    except ModelTooLarge as error:
        return str(error)
    return f"{path.name} only just fits into the memory that is free; close other programs"


def _version(distribution: str) -> str | None:
    """Of a package, or of what stands in its place where it can use a GPU."""
    from importlib.metadata import PackageNotFoundError, version

    for name in (distribution, *IN_ITS_PLACE.get(distribution, ())):
        try:
            return version(name) if name == distribution else f"{version(name)} ({name})"
        except PackageNotFoundError:
            continue
    return None


def _gpu_offload() -> bool | None:
    """Whether this build of llama.cpp can use a GPU; None when it is installed and cannot be imported."""
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError):
        return None
    return bool(llama_cpp.llama_supports_gpu_offload())


def _data_directory() -> dict[str, Any]:
    """Writable and free bytes of the data directory, or of the folder in which it would be made."""
    import os
    import shutil

    from edge.system import paths

    path = existing = paths.home()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return {"path": str(path), "writable": writable, "free": shutil.disk_usage(existing).free}


def _problems(found: dict[str, Any], used: Path | None) -> list[str]:
    """Every reason for which `used`, the model that would answer, does not."""
    from edge_tui.cli.reports.readiness import refusals

    problems = []
    if used is None:
        for extra in NEEDED:
            if extra in found["missing"]:
                problems.append(f"{' and '.join(found['missing'][extra])} not installed; run: {_install(extra)}")
    broken = found["packages"]["llama-cpp-python"] is not None and found["gpu_offload"] is None
    if broken and (used is None or used.is_file()):
        again = install_command(*requirements_of("gguf"), again=True)
        problems.append(f"llama-cpp-python is installed and cannot be loaded; run: {again}")
    if not found["data"]["writable"]:
        problems.append(f"{found['data']['path']} cannot be written to; make it writable or set EDGE_HOME")
    return [*problems, *refusals()]


def _install(extra: str) -> str:
    return install_command(*requirements_of(extra))


def _print(found: dict[str, Any]) -> None:
    from edge_tui.rendering.units import format_size

    memory, data = found["memory"], found["data"]
    offload = {True: "yes", False: "no", None: "unknown"}[found["gpu_offload"]]
    providers = ", ".join(found["onnx_providers"])
    gpus = ", ".join(f"{gpu['name']} ({format_size(gpu['free'])} free)" for gpu in found["gpus"])
    limited = " (less than the machine has: a container or a limit of this account)" if memory["limited"] else ""
    writable = "writable" if data["writable"] else "not writable"
    lines = {
        "Python": f"{found['python']} on {found['platform']}",
        "Cores": str(found["cores"]),
        "Memory": f"{format_size(memory['total'])}, {format_size(memory['available'])} free{limited}",
        "GPU offload": f"{offload}{': ' if gpus else ''}{gpus}",
        "ONNX on": providers or "nothing: onnxruntime-genai is not installed",
        "Data": f"{data['path']} ({writable}, {format_size(data['free'])} free)",
        "Models": _names(found["models"]),
        "Encoders": _names(found["encoders"]),
        "Indexes": _names(found["indexes"]),
        "Offline": ", ".join(f"{name}={value}" for name, value in found["offline"].items()),
    }
    for title, text in lines.items():
        click.echo(f"{title:<12} {text}")
    if found["use"]:
        click.secho("\nWhat will be used", bold=True)
    for use in found["use"]:
        device = use["device"] or f"an engine that is missing ([{use['engine']}])"
        fits = "" if use["fits"] else ", more than is free"
        click.echo(
            f"  {visible_name(use['name'])}: {device}, context {use['context']:,}, {format_size(use['needed'])}{fits}"
        )
    click.secho("\nPackages", bold=True)
    for name, version in found["packages"].items():
        click.echo(f"  {name:<18} {version or 'missing'}")
    for extra in found["missing"]:
        if extra not in NEEDED:
            click.echo(f"  not needed to ask and chat, [{extra}]: {_install(extra)}")
    if found["notes"]:
        click.secho("\nNotes", bold=True)
    for note in found["notes"]:
        click.echo(f"  {message(note)}")
    click.secho("\nProblems" if found["problems"] else "\nEverything to ask and chat is here.", bold=True)
    for problem in found["problems"]:
        click.echo(f"  {message(problem)}")


def _names(entries: list[dict[str, Any]]) -> str:
    return ", ".join(visible_name(Path(entry["path"]).name) for entry in entries) or "none"
