"""The source of a network, cut out of `inkwash.nn` with all that it needs, and a line that builds it."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from inkwash.core.errors import ConfigError
from inkwash.nn import dit, layers, levels, mlp, modulation, times, unet
from inkwash.nn.layers import GivenEmbedding, LabelEmbedding

_PLAIN = {
    "modulated": '''
def modulated(norm, h, scale, shift):
    """silu(norm(h) * scale + shift), with a scale and a shift for each channel of each example."""
    over = (..., *(None,) * (h.ndim - 2))
    return F.silu(torch.addcmul(shift[over], norm(h), scale[over]))
''',
    "convolved": '''
def convolved(convolution, h):
    """convolution(silu(h))."""
    return convolution(F.silu(h))
''',
}
"""What takes the place of functions that only save memory in training."""


def network_source(network: nn.Module) -> str:
    """Python that defines `build_network()`, which makes a network of the same kind and sizes; it imports torch only.

    Raises:
        ConfigError: a network of another kind than those that are known here.
    """
    build = f'\n\ndef build_network():\n    """The network, with new weights."""\n    return {_building(network)}\n'
    files = [Path(str(module.__file__)) for module in (layers, modulation, _module_of(network), levels, times)]
    return _definitions(files, _names(ast.parse(build))) + build


def _module_of(network: nn.Module) -> Any:
    """The module that has the backbone; each has private names of its own."""
    inner = getattr(network, "network", network)
    kinds = {unet.UNet: unet, dit.DiT: dit, mlp.MLP: mlp}
    return _module_of(inner) if inner is not network else kinds.get(type(network), mlp)


def _building(network: nn.Module) -> str:
    """An expression that builds a network."""
    kind = type(network).__name__
    if isinstance(network, times.TimeNet):
        return f"TimeNet({_building(network.network)})"
    if isinstance(network, levels.LevelNet):
        values, head = network.values.double(), network.head
        ends = f"{float(values[0])!r}, {float(values[-1])!r}, {len(values)}, dtype=torch.float64"
        sizes = f"features={head.linear.in_features}, outputs={head.linear.out_features}"
        shape = tuple(head.log_prior.shape[:-1])
        histogram = ", histogram=True" * (network.common is not None)
        return f"LevelNet({_building(network.network)}, {shape}, torch.linspace({ends}), {sizes}{histogram})"
    if isinstance(network, unet.UNet | dit.DiT | mlp.MLP):
        return f"{kind}({', '.join(f'{name}={value}' for name, value in _ARGUMENTS[type(network)](network))})"
    raise ConfigError("to", f"diffusers, and a {kind}", "a U-Net, a DiT or an MLP; onnx takes every network")


def _of_unet(network: Any) -> Iterator[tuple[str, Any]]:
    stages, width = [*_stages(network.stages)], network.enter.out_channels
    yield "channels", network.enter.in_channels - bool(network.given) * (network.given + 1)
    yield "width", width
    yield "multipliers", tuple(stage.down[0].norm.num_channels // width for stage in stages)
    yield "blocks", len(stages[0].down)
    yield "attention", tuple(not isinstance(stage.down[0].attention, nn.Identity) for stage in stages)
    yield "outputs", network.leave[2].out_channels
    yield "condition", _conditions(network.embed)
    yield "axes", network.enter.weight.ndim - 2
    yield "given", network.given
    yield "places", () if network.place is None else tuple(network.place.shape[1:])


def _stages(stage: Any) -> Iterator[Any]:
    while stage is not None:
        yield stage
        stage = stage.coarser


def _of_dit(network: Any) -> Iterator[tuple[str, Any]]:
    places, beside = math.prod(network.patch), bool(network.given) * (network.given + 1)
    yield "channels", network.enter.in_features // places - beside
    yield "patch", network.patch
    yield "width", network.enter.out_features
    yield "depth", len(network.transformer.blocks)
    yield "outputs", network.leave.out_features // places
    yield "condition", _conditions(network.transformer.embed)
    yield "given", network.given


def _of_mlp(network: Any) -> Iterator[tuple[str, Any]]:
    yield "size", network.enter.in_features
    yield "width", network.enter.out_features
    yield "depth", len(network.blocks)
    yield "outputs", network.leave[2].out_features
    yield "condition", _conditions(network.embed)


_ARGUMENTS: dict[type, Any] = {unet.UNet: _of_unet, dit.DiT: _of_dit, mlp.MLP: _of_mlp}


def _conditions(embedding: layers.LevelEmbedding) -> str:
    """A mapping of the conditions that samples can have; what augmentation did is none of them."""
    made = []
    for name, each in embedding.condition.items():
        if isinstance(each, LabelEmbedding):
            made.append(f"{name!r}: lambda width: LabelEmbedding({each.table.num_embeddings - 1}, width)")
        if isinstance(each, GivenEmbedding) and name == "given":
            made.append(f"{name!r}: lambda width: GivenEmbedding({each.layers[0].in_features}, width)")
    return f"{{{', '.join(made)}}}"


def _definitions(files: Iterable[Path], wanted: set[str]) -> str:
    """The imports and definitions of files that names lead to, in the order of the files."""
    texts = [file.read_text("utf-8") for file in files]
    bodies = [(text, node) for text in texts for node in ast.parse(text).body]
    known = {name: (text, node) for text, node in bodies for name in _defined(node)}
    todo, reached = [*wanted], set[str]()
    while todo:
        name = todo.pop()
        if name in known and name not in reached:
            reached.add(name)
            todo += [] if name in _PLAIN else _names(known[name][1])
    kept = [name for name in known if name in reached]
    code = [_PLAIN[name].strip("\n") if name in _PLAIN else _source(*known[name]) for name in kept]
    used = set().union(*(_names(ast.parse(part)) for part in code))
    imports = {line for _, node in bodies for line in _imports(node, used)}
    return "\n".join(sorted(imports)) + "\n\n\n" + "\n\n\n".join(code) + "\n"


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines, but for imported ones."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return [target.id for target in getattr(node, "targets", ()) if isinstance(target, ast.Name)]


def _source(text: str, node: ast.stmt) -> str:
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])


def _imports(node: ast.stmt, used: set[str]) -> Iterator[str]:
    """The lines that import, from elsewhere than inkwash, one used name each."""
    module = getattr(node, "module", None) or ""
    if isinstance(node, ast.Import | ast.ImportFrom) and not module.startswith("inkwash"):
        for each in node.names:
            renamed = f" as {each.asname}" if each.asname else ""
            if (each.asname or each.name) in used:
                yield f"from {module} import {each.name}{renamed}" if module else f"import {each.name}{renamed}"
