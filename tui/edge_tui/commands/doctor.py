"""`edge doctor`: what is here, what is missing, and the line that puts it right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

EXTRAS = {
    "gguf": ("llama-cpp-python",),
    "encoder": ("onnx", "safetensors"),
    "onnx": ("onnxruntime-genai",),
    "convert": ("torch", "transformers", "peft", "gguf", "onnx-ir"),
}
PACKAGES = ("edge-expert", "numpy", "onnxruntime", "tokenizers", "hnswlib", "textual")
NEEDED = ("gguf", "encoder")
"""The extras without which nothing answers: the rest is for conversion and for other engines."""


@click.command(epilog="Example: edge doctor --json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Look whether everything is in place to ask and chat; exit code 1 and what to do when it is not."""
    from edge_tui.commands.output import print_json

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

    from edge import library, offline
    from edge.machine import physical_cores
    from edge_tui.commands.output import plain

    packages = {name: _version(name) for name in (*PACKAGES, *sum(EXTRAS.values(), ()))}
    memory = psutil.virtual_memory()
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": physical_cores(),
        "memory": {"total": memory.total, "available": memory.available},
        "packages": packages,
        "missing": {
            extra: [name for name in names if packages[name] is None]
            for extra, names in EXTRAS.items()
            if any(packages[name] is None for name in names)
        },
        "gpu_offload": _gpu_offload() if packages["llama-cpp-python"] else None,
        "data": _data_directory(),
        "models": plain(library.models()),
        "encoders": plain(library.encoders()),
        "indexes": plain(library.indexes()),
        "offline": {name: os.environ.get(name) for name in offline.ENVIRONMENT},
    }
    found["problems"] = _problems(found)
    return found


def _version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
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

    from edge import paths

    path = existing = paths.home()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return {"path": str(path), "writable": writable, "free": shutil.disk_usage(existing).free}


def _problems(found: dict[str, Any]) -> list[str]:
    from edge.library import PULL

    problems = []
    for extra in NEEDED:
        if extra in found["missing"]:
            names = " and ".join(found["missing"][extra])
            problems.append(f"{names} not installed; run: {_install(extra)}")
    if found["packages"]["llama-cpp-python"] and found["gpu_offload"] is None:
        problems.append(
            "llama-cpp-python is installed and cannot be loaded; run: "
            "pip install --force-reinstall --no-cache-dir llama-cpp-python==0.3.36"
        )
    if not found["data"]["writable"]:
        problems.append(f"{found['data']['path']} cannot be written to; make it writable or set EDGE_HOME")
    if not found["models"]:
        problems.append(f"there is no model; run: {PULL}")
    if not found["encoders"]:
        problems.append(f"there is no text encoder; run: {PULL}")
    return problems


def _install(extra: str) -> str:
    return f"pip install 'edge-expert[{extra}]'"


def _print(found: dict[str, Any]) -> None:
    from edge_tui.commands.output import size

    memory, data = found["memory"], found["data"]
    offload = {True: "yes", False: "no", None: "unknown"}[found["gpu_offload"]]
    lines = {
        "Python": f"{found['python']} on {found['platform']}",
        "Cores": str(found["cores"]),
        "Memory": f"{size(memory['total'])}, {size(memory['available'])} free",
        "GPU offload": offload,
        "Data": f"{data['path']} ({'writable' if data['writable'] else 'not writable'}, {size(data['free'])} free)",
        "Models": _names(found["models"]),
        "Encoders": _names(found["encoders"]),
        "Indexes": _names(found["indexes"]),
        "Offline": ", ".join(f"{name}={value}" for name, value in found["offline"].items()),
    }
    for title, text in lines.items():
        click.echo(f"{title:<12} {text}")
    click.secho("\nPackages", bold=True)
    for name, version in found["packages"].items():
        click.echo(f"  {name:<18} {version or 'missing'}")
    for extra in found["missing"]:
        if extra not in NEEDED:
            click.echo(f"  not needed to ask and chat, [{extra}]: {_install(extra)}")
    click.secho("\nProblems" if found["problems"] else "\nEverything to ask and chat is here.", bold=True)
    for problem in found["problems"]:
        click.echo(f"  {problem}")


def _names(entries: list[dict[str, Any]]) -> str:
    return ", ".join(Path(entry["path"]).name for entry in entries) or "none"
