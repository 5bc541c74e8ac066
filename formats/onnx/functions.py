"""Operator schemas of the onnx package, function bodies, and free names of subgraphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...ir import LimitError, ModelError, TensorType, UnsupportedError
from .element_types import NUMBERS


def schema_of(domain: str, name: str, opset: int) -> Any:
    """The schema that holds for an operator in an opset; None if the standard has none."""
    import onnx

    if not onnx.defs.has(name, domain):
        return None
    try:
        return onnx.defs.get_schema(name, opset, domain)
    except onnx.defs.SchemaError:
        return None  # the operator came in later than this opset


def attribute_kind(schema: Any, name: str) -> int:
    """The number of the attribute type that a schema declares."""
    return int(schema.attributes[name].type.value)


def has_body(schema: Any) -> bool:
    """True when the standard defines the operator by a function of others."""
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def standard_body(
    schema: Any,
    node: Any,
    attributes: Iterable[Any],
    opset: int,
    types: Sequence[TensorType | None],
) -> Any:
    """The FunctionProto that defines a node in the standard; None if there is none for it."""
    import onnx

    if schema.has_function:
        version = _version(schema.function_opset_versions, opset)
        text = schema.get_function_with_opset_version(version)
    else:
        version = _version(schema.context_dependent_function_opset_versions, opset)
        plain = onnx.NodeProto()
        plain.CopyFrom(node)
        del plain.attribute[:]
        plain.attribute.extend(attributes)
        given = [_type_proto(type_) for type_ in types]
        try:
            text = schema.get_context_dependent_function_with_opset_version(
                version, plain.SerializeToString(), given
            )
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ModelError(f"the standard's definition cannot be built: {error}") from None
    if not text:
        return None
    body = onnx.FunctionProto.FromString(text)
    if not body.name:
        body.name = node.op_type
    known = any(entry.domain in ("", "ai.onnx") for entry in body.opset_import)
    if not known and schema.domain == "":
        body.opset_import.add(domain="", version=version)
    return body


def default_attributes(schema: Any) -> dict[str, Any]:
    """The AttributeProtos that hold where a node leaves attributes out."""
    return {
        name: attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }


def _version(versions: Sequence[int], opset: int) -> int:
    """The body to use: the newest not after the model's opset, else the oldest."""
    before = [version for version in versions if version <= opset]
    return max(before) if before else min(versions)


def _type_proto(type_: TensorType | None) -> bytes:
    import onnx

    proto = onnx.TypeProto()
    if type_ is not None:
        proto.tensor_type.elem_type = NUMBERS[type_.dtype]
        proto.tensor_type.shape.SetInParent()
        for extent in type_.shape:
            if isinstance(extent, int):
                if extent >= 2**63:
                    raise LimitError(f"{type_} has an extent beyond 64 bits")
                proto.tensor_type.shape.dim.add(dim_value=extent)
            else:
                proto.tensor_type.shape.dim.add(dim_param=str(extent))
    return bytes(proto.SerializeToString())


def newest_opset() -> int:
    """The newest opset of the standard domain that the onnx package knows."""
    import onnx

    return int(onnx.defs.onnx_opset_version())


def opsets_of(imports: Iterable[Any], inherited: Mapping[str, int]) -> dict[str, int]:
    """Domain -> opset version, from opset_import entries; the rest as around."""
    import onnx

    found = dict(inherited)
    own: set[str] = set()
    for entry in imports:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain in own:
            raise ModelError(f"the opset of the domain {domain or 'ai.onnx'} is given twice")
        own.add(domain)
        found[domain] = entry.version
    newest = newest_opset()
    version = found.get("", newest)
    if version > newest:
        raise UnsupportedError(
            f"the model has opset {version}; the installed onnx {onnx.__version__} knows "
            f"opsets up to {newest}"
        )
    if version < 1:
        raise ModelError(f"the model has opset {version}")
    return found


def without_inputs(nodes: Iterable[Any], left_out: set[str]) -> Iterator[Any]:
    """Nodes in which inputs that the caller left out are left out as well."""
    for node in nodes:
        if left_out.intersection(node.input):
            copy = type(node)()
            copy.CopyFrom(node)
            kept = ["" if name in left_out else name for name in node.input]
            del copy.input[:]
            copy.input.extend(kept)
            yield copy
        else:
            yield node


def free_names(graph: Any, depth: int) -> list[str]:
    """Names that a subgraph uses and does not define, in order of first use."""
    if depth < 0:
        raise LimitError("subgraphs nest too deeply")
    defined = {value.name for value in graph.input}
    defined.update(tensor.name for tensor in graph.initializer)
    defined.update(tensor.values.name for tensor in graph.sparse_initializer)
    free: dict[str, None] = {}
    for node in graph.node:
        used = [name for name in node.input if name]
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for subgraph in [*inner, *attribute.graphs]:
                used += free_names(subgraph, depth - 1)
        for name in used:
            if name not in defined:
                free[name] = None
        defined.update(node.output)
    for value in graph.output:
        if value.name not in defined:
            free[value.name] = None
    return list(free)
