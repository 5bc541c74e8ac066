"""Checkpoints and networks: ``load_checkpoint`` and its like, with MindSpore 2.10's meaning."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..formats.checkpoint.entries import (
    INT4,
    Checkpoint,
    Entry,
    StoredArray,
    StoredMap,
    StoredText,
    stored,
)
from ..formats.checkpoint.read import read_checkpoint
from ..formats.checkpoint.safetensors import read_safetensors, write_safetensors
from ..formats.checkpoint.write import appended, write_checkpoint
from ..ir import Array, FormatError, LazyArray, ModelError, TensorType
from ..ir.data_type import numpy_type
from ..ir.node import read_array
from .cell import Cell
from .parameter import Parameter

FORMATS = ("ckpt", "safetensors")
_FLOATS = frozenset({"float16", "float32", "float64", "bfloat16"})
_INTEGERS = frozenset({"int8", "int16", "int32", "int64"})
_CACHE_SUFFIX = re.compile(r"\.__param_key__\d+$")

Loaded = Parameter | str | list[Array] | Array


def load_checkpoint(
    ckpt_file_name: str | os.PathLike[str] | IO[bytes],
    net: Cell | None = None,
    strict_load: bool = False,
    filter_prefix: str | Sequence[str] | None = None,
    dec_key: bytes | str | None = None,
    dec_mode: str = "AES-GCM",
    specify_prefix: str | Sequence[str] | None = None,
    choice_func: Callable[[str], bool] | None = None,
    crc_check: bool = False,
    remove_redundancy: bool = False,
    format: str = "ckpt",
) -> dict[str, Loaded]:
    """The parameters of a checkpoint by name; with ``net``, they are loaded into it.

    Arguments mean what they mean in MindSpore 2.10: only names that start with one of
    ``specify_prefix`` are taken, then those that start with one of ``filter_prefix`` are left
    out; ``choice_func`` decides by name if neither is given; ``dec_key`` and ``dec_mode`` are
    those of an encrypted file; ``crc_check`` verifies the checksum of a file that has one;
    ``remove_redundancy`` is that of :func:`load_param_into_net`; ``format`` is "ckpt" or
    "safetensors", and the file's suffix (an open file has none). Texts come as str, hash
    tables as a list of keys, values and status, complex arrays as NumPy's. Other arrays are read
    when they are used.

    Raises FormatError for a file that is not a checkpoint, is broken, or wrongly keyed, and
    ModelError for arguments that do not fit or when no parameter is left.
    """
    _check_format(format)
    source: str | os.PathLike[str] | IO[bytes] = ckpt_file_name
    called = "the file"
    if isinstance(source, (str, os.PathLike)):
        called = Path(source).name
        if Path(source).suffix != f".{format}":
            raise ModelError(f"{called}: the name of a checkpoint ends in .{format}")
    found: Mapping[str, Entry]
    if format == "ckpt":
        found = read_checkpoint(source, dec_key=dec_key, dec_mode=dec_mode, crc_check=crc_check)
    elif dec_key is not None:
        raise ModelError("safetensors files cannot be encrypted: leave dec_key out")
    else:
        found = dict(sorted(read_safetensors(source, crc_check=crc_check).items()))
    chosen = _chooser(specify_prefix, filter_prefix, choice_func)
    result = {
        _CACHE_SUFFIX.sub("", name): _loaded(_CACHE_SUFFIX.sub("", name), entry)
        for name, entry in found.items()
        if chosen(name)
    }
    if not result:
        if not found:
            raise FormatError(f"{called} has no parameters: it is empty")
        raise ModelError(f"{called} has no parameters that the prefixes leave")
    if net is not None:
        load_param_into_net(net, result, strict_load, remove_redundancy)
    return result


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise ModelError(f"a checkpoint's format is one of {', '.join(FORMATS)}, not {format!r}")


def _chooser(
    specify: str | Sequence[str] | None,
    leave_out: str | Sequence[str] | None,
    choice: Callable[[str], bool] | None,
) -> Callable[[str], bool]:
    wanted, unwanted = _prefixes("specify_prefix", specify), _prefixes("filter_prefix", leave_out)
    if not wanted and not unwanted:
        return choice or (lambda name: True)
    return lambda name: (
        (not wanted or name.startswith(wanted)) and not (unwanted and name.startswith(unwanted))
    )


def _prefixes(argument: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    prefixes = [given] if isinstance(given, str) else given
    if (
        not isinstance(prefixes, (list, tuple))
        or not prefixes
        or not all(isinstance(prefix, str) and prefix for prefix in prefixes)
    ):
        raise ModelError(f"{argument} is a text, or a list of some, that are not empty")
    return tuple(prefixes)


def _loaded(name: str, entry: Entry) -> Loaded:
    if isinstance(entry, StoredText):
        return entry.text
    if isinstance(entry, StoredMap):
        return [entry.keys, entry.values, entry.status]
    if entry.dtype.kind == "c":
        return entry.array()
    parameter = Parameter(entry.lazy(), name)
    if entry.type == INT4:
        parameter.stored_type = INT4
    return parameter


def load_param_into_net(
    net: Cell,
    parameter_dict: Mapping[str, Any],
    strict_load: bool = False,
    remove_redundancy: bool = False,
) -> tuple[list[str], list[str]]:
    """Give a network's parameters the numbers of a checkpoint.

    Returns the names of the network's parameters that got none, and those of the checkpoint
    that were not used. Where names of the checkpoint have a prefix that the network's lack,
    it is found and ignored, and floating types (and signed integer types) are converted to
    the network's, unless ``strict_load`` is set. Extents of 1 at the end of a shape may be
    missing in the network. Raises ModelError, before anything is changed, for types or
    shapes that do not fit, and for ``remove_redundancy``, which fetches parameters from other
    devices: there are none.
    """
    if remove_redundancy:
        raise ModelError("remove_redundancy is for parameters that several devices hold")
    held = net.parameters_dict()
    updates: dict[str, LazyArray | Array] = {}
    missing = []
    for name, parameter in held.items():
        if name in parameter_dict:
            updates[name] = _fitting(name, parameter, parameter_dict[name], strict_load)
        elif not name.startswith("accu_grads"):
            missing.append(name)
    unused = [name for name in parameter_dict if name not in held]
    if missing and not strict_load:
        missing = _with_prefixes(held, parameter_dict, missing, updates)
    for name, parameter in held.items():
        if name in updates:
            parameter.set_data(updates[name])
            parameter.name = name
    return missing, unused


def _with_prefixes(
    held: Mapping[str, Parameter],
    parameter_dict: Mapping[str, Any],
    missing: list[str],
    updates: dict[str, LazyArray | Array],
) -> list[str]:
    """Take what the checkpoint has under a prefix + name; returns what is still missing."""
    while missing:
        prefix = next(
            (
                key[: -len(name)]
                for name in missing
                for key in parameter_dict
                if key.endswith(name) and key != name
            ),
            None,
        )
        if prefix is None:
            break
        for name in missing:
            if prefix + name in parameter_dict:
                given = parameter_dict[prefix + name]
                updates[name] = _fitting(name, held[name], given, False)
        missing = [name for name in missing if name not in updates]
    return missing


def _fitting(name: str, parameter: Parameter, given: Any, strict: bool) -> LazyArray | Array:
    """The given numbers in the parameter's type and shape."""
    if isinstance(given, Parameter):
        data = given.held()
    elif hasattr(given, "shape") and hasattr(given, "dtype"):
        data = given
    else:
        raise ModelError(f"{name}: the checkpoint has a {type(given).__name__}, not an array")
    found = data.type if isinstance(data, LazyArray) else TensorType.of(data)
    wanted = parameter.type
    if found == wanted:
        return data
    shape, target = wanted.static_shape, wanted.dtype
    ones = found.static_shape[len(shape) :]
    if found.static_shape[: len(shape)] != shape or any(extent != 1 for extent in ones):
        raise ModelError(
            f"{name} has the shape {list(shape)} in the network and "
            f"{list(found.static_shape)} in the checkpoint"
        )
    kinds = {found.dtype, target}
    if len(kinds) == 2 and (strict or not (kinds <= _FLOATS or kinds <= _INTEGERS)):
        raise ModelError(
            f"{name} is {target} in the network and {found.dtype} in the checkpoint"
            + (", and strict_load converts nothing" if strict else "")
        )
    type_ = TensorType(target, shape)
    return LazyArray(
        type_, lambda: read_array(data).reshape(shape).astype(numpy_type(target), copy=False)
    )


def save_checkpoint(
    save_obj: Cell | Mapping[str, Any] | Sequence[Mapping[str, Any] | Parameter],
    ckpt_file_name: str | os.PathLike[str],
    integrated_save: bool = True,
    async_save: bool | str = False,
    append_dict: Mapping[str, Any] | None = None,
    enc_key: bytes | str | None = None,
    enc_mode: str = "AES-GCM",
    choice_func: Callable[[str], bool] | None = None,
    crc_check: bool = False,
    format: str = "ckpt",
    *,
    remove_redundancy: bool | None = None,
) -> Path:
    """Write a network's parameters, a dict or a list of them, or of {"name", "data"}, as a file.

    ``append_dict`` adds numbers, truth values, texts and arrays; ``choice_func`` chooses by
    name (not among these); ``enc_key`` and ``enc_mode`` encrypt; ``crc_check`` adds a checksum.
    What comes later under a name that was there takes its place. Suffix and format as in
    :func:`load_checkpoint`. ``integrated_save`` and ``async_save`` (a bool, "thread" or
    "process") are there for MindSpore's sake and change nothing; ``remove_redundancy`` is noted
    in safetensors files. The file appears complete or not at all. Returns its path. Raises
    ModelError for what a checkpoint cannot hold.
    """
    _check_format(format)
    if not isinstance(async_save, bool) and async_save not in ("thread", "process"):
        raise ModelError(f"async_save is a bool, 'thread' or 'process', not {async_save!r}")
    path = Path(ckpt_file_name)
    if path.suffix != f".{format}":
        path = path.with_name(f"{path.name}.{format}")
    chosen = {
        name: value for name, value in _named(save_obj) if choice_func is None or choice_func(name)
    }
    chosen.update(append_dict or {})
    entries = [_entry(name, value) for name, value in chosen.items()]
    if format == "safetensors":
        if enc_key is not None:
            raise ModelError("safetensors files cannot be encrypted: leave enc_key out")
        noted = remove_redundancy is not None
        metadata = {"remove_redundancy": str(remove_redundancy)} if noted else {}
        write_safetensors(entries, path, crc_check=crc_check, metadata=metadata)
    else:
        write_checkpoint(entries, path, enc_key=enc_key, enc_mode=enc_mode, crc_check=crc_check)
    return path


def _named(save_obj: Any) -> list[tuple[str, Any]]:
    if isinstance(save_obj, Cell):
        save_obj.init_parameters_data()
        return list(save_obj.parameters_dict().items())
    if isinstance(save_obj, (Mapping, Checkpoint)):
        return list(save_obj.items())
    try:
        return [
            (item.name, item) if isinstance(item, Parameter) else (str(item["name"]), item["data"])
            for item in save_obj
        ]
    except (TypeError, KeyError):
        raise ModelError(
            "what is saved is a network, a dict or a list of parameters, or a list of dicts with "
            f'"name" and "data", not {type(save_obj).__name__}'
        ) from None


def _entry(name: str, value: Any) -> Entry:
    if isinstance(value, (StoredArray, StoredText, StoredMap)):
        return value
    if isinstance(value, Parameter):
        entry = stored(name, value.asnumpy())
        if value.stored_type == INT4:
            return StoredArray(name, INT4, entry.shape, entry.pieces)
        return entry
    if isinstance(value, list) and len(value) == 3:
        return StoredMap(name, *value)
    return appended(name, value)
