"""NetCDF by the conventions of its users' guide and of CF: packed values, fill values, coordinates, attributes.

The library netCDF4 unpacks values and masks what is missing: fill values, values beyond the valid range, and cells
that were never written. Samples are packed as the variable was, with its attributes and the coordinates of all axes but
the first.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.formats.format import Format, ends_in, in_one
from inkwash.data.formats.netcdf3 import require_complete
from inkwash.data.named import names_beside, read_named
from inkwash.data.raw import DAMAGE, Raw, readable
from inkwash.data.rows import blocks
from inkwash.data.spec import DataSpec
from inkwash.data.stored import beside, stored

_PACKING = ("zlib", "shuffle", "complevel", "fletcher32")


def read(path: Path, config: DataConfig) -> Raw:
    """A variable of a netCDF file.

    Raises:
        DataError: an unreadable file, no variable of the name that an option has, or one that is refused.
    """
    import netCDF4

    with readable(str(path), "a complete netCDF file", (*DAMAGE, KeyError, IndexError)):
        file = netCDF4.Dataset(path)
        variables = dict(_variables(file, ""))
        require_complete(path)
    names = [name for name, each in variables.items() if each.ndim and name not in _coordinates(variables)]
    known = (config.key, *names_beside(config).values())
    names += [name for name in known if name in variables and name not in names]
    return read_named(
        str(path),
        names,
        config,
        lambda key: _variable(f"{path}:{key}", key, variables),
        lambda key: _beside(f"{path}:{key}", variables[key]),
    )


def _variables(group: Any, above: str) -> Any:
    for name, variable in group.variables.items():
        yield f"{above}{name}", variable
    for name, inner in group.groups.items():
        yield from _variables(inner, f"{above}{name}/")


def _coordinates(variables: dict[str, Any]) -> set[str]:
    """The variables that say where others lie: those named like an axis, and those that others name."""
    named = {word for each in variables.values() for word in _referred(each)}
    return {name for name, each in variables.items() if each.dimensions == (each.name,) or each.name in named}


def _referred(variable: Any) -> list[str]:
    """The names in the attributes by which a variable refers to others (CF, §5 and §7)."""
    texts = (getattr(variable, name, "") for name in ("coordinates", "bounds", "grid_mapping", "cell_measures"))
    return " ".join(text for text in texts if isinstance(text, str)).split()


def _beside(where: str, variable: Any) -> Array:
    """Labels, a condition or lengths."""
    import netCDF4

    def read() -> Array:
        found = variable[:]
        if found.dtype == "S1" and found.ndim > 1:  # text as characters along a last axis
            found = netCDF4.chartostring(np.ma.filled(found, b""))
        if np.ma.is_masked(found):
            raise DataError(where, "missing entries", "a value for each example")
        return np.ma.getdata(found)

    itemsize = variable.dtype.itemsize if isinstance(variable.dtype, np.dtype) else 8
    return beside(where, variable.size * itemsize, read)


def _variable(where: str, key: str, variables: dict[str, Any]) -> Raw:
    variable = variables[key]
    if not isinstance(variable.dtype, np.dtype) or variable.dtype.kind not in "biuf":
        raise DataError(where, "text, records or lists", "a variable of numbers")
    if 0 in variable.shape:
        raise DataError(where, f"an array of shape {variable.shape}", "one of 1 to 5 axes, none of them empty")
    variable.set_always_mask(True)
    with readable(where, "attributes of numbers, and a complete file", (*DAMAGE, TypeError), what="unreadable"):
        dtype = variable[:1].dtype
    plain = _unmasked(where, variable, dtype)
    masked = plain.dtype.kind == "f" and any(np.isnan(block).any() for block in blocks(plain))
    if plain.dtype.kind != "f" and _is_masked(variable):
        plain, masked = _unmasked(where, variable, np.dtype(np.float64)), True
    kept = {
        "key": key,
        "dtype": variable.dtype.str,
        "axes": variable.dimensions,
        "attributes": _attributes(variable),
        "model": variable.group().data_model,
        "packing": {name: value for name, value in (variable.filters() or {}).items() if name in _PACKING},
        "coordinates": _coordinates_of(key, variables),
        "groups": _groups(variable.group()),
    }
    return Raw(plain, kept=kept, masked=masked)


def _coordinates_of(key: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The coordinates of all axes of a variable but the first, and variables without axes, by name; those of its own
    group hide those of groups above it (netCDF-4 scopes)."""
    group, _, own = key.rpartition("/")
    sides = dict(zip(variables[key].dimensions[1:], variables[key].shape[1:], strict=True))
    scopes = {name: name.rpartition("/") for name in variables}
    return {
        inner: {"axes": each.dimensions, "attributes": _attributes(each), "values": np.ma.filled(_raw(each))}
        for name, each in variables.items()
        if f"{group}/".startswith("".join(scopes[name][:2]))
        and (inner := scopes[name][2]) != own
        and each.dtype != str
        and each.shape == tuple(sides.get(axis) for axis in each.dimensions)
        and (name in _coordinates(variables) or not each.ndim)
    }


def _is_masked(variable: Any) -> bool:
    step = max(1, (1 << 20) // math.prod(variable.shape[1:]))
    return any(np.ma.is_masked(variable[first : first + step]) for first in range(0, len(variable), step))


def _unmasked(where: str, variable: Any, dtype: np.dtype[Any]) -> Array:
    """The values of a variable, unpacked; NaN where real numbers are missing."""

    def rows(first: int, end: int) -> Array:
        found = variable[first:end]
        return np.ma.filled(found.astype(dtype), np.nan) if dtype.kind == "f" else np.ma.getdata(found)

    return stored(where, variable.shape, dtype, rows)


def _raw(variable: Any) -> Array:
    """The values of a variable as they are stored."""
    variable.set_auto_maskandscale(False)
    found = np.asarray(variable[...])
    variable.set_auto_maskandscale(True)
    return found


def _attributes(thing: Any) -> dict[str, Any]:
    """The attributes of a variable or group."""
    return {name: thing.getncattr(name) for name in thing.ncattrs()}


def _groups(group: Any) -> dict[str, dict[str, Any]]:
    """The attributes of a group and of those above it, from the file on, by path."""
    above = {} if group.parent is None else _groups(group.parent)
    return above | {group.path: _attributes(group)}


def dump(spec: DataSpec, data: Array) -> bytes:
    """Samples as a netCDF file of one variable, with its coordinates."""
    import netCDF4

    kept = dict(spec.origin or {})
    file = netCDF4.Dataset("samples.nc", "w", format=kept.get("model", "NETCDF4"), memory=1)
    axes = kept.get("axes") or [f"axis_{i}" for i in range(data.ndim)]
    key = str(kept.get("key", "data"))
    group = file.createGroup(key.rpartition("/")[0]) if "/" in key else file
    for path, attributes in kept.get("groups", {}).items():
        (file if path == "/" else file.createGroup(path)).setncatts(attributes)
    for name, side in zip(axes, data.shape, strict=True):
        group.createDimension(name, side)
    sides = dict(zip(axes, data.shape, strict=True))
    for name, each in (kept.get("coordinates") or {}).items():
        values = each.get("values")  # those of a whole series are not those of its future
        if values is not None and values.shape == tuple(sides[axis] for axis in each["axes"]):
            made = _write(group, name.rpartition("/")[2], each["axes"], values.dtype, each["attributes"])
            made[...] = values
    dtype = np.dtype(kept.get("dtype", data.dtype))
    packing = kept.get("packing") or {}
    variable = _write(group, key.rpartition("/")[2], axes, dtype, kept.get("attributes", {}), **packing)
    variable[...] = _packed(variable, dtype, data)
    return bytes(file.close())


def _write(group: Any, name: str, axes: Any, dtype: Any, attributes: dict[str, Any], **packing: Any) -> Any:
    """A new variable with its attributes; it takes values as they are stored."""
    fill = attributes.get("_FillValue")
    made = group.createVariable(name, dtype, axes, fill_value=fill, **packing)
    made.setncatts({each: value for each, value in attributes.items() if each != "_FillValue"})
    made.set_auto_maskandscale(False)
    return made


def _packed(variable: Any, dtype: np.dtype[Any], data: Array) -> Array:
    """Values as they are stored: packed by scale and offset, whole numbers rounded, all within their type and the valid
    range, with the fill value for what is missing. The numbers of a type with a sign may stand for ones without."""
    import netCDF4

    attributes = _attributes(variable)
    is_unsigned = dtype.kind == "i" and str(attributes.get("_Unsigned")) in ("true", "True")
    meant = np.dtype(dtype.str.replace("i", "u")) if is_unsigned else dtype

    def numbers(name: str) -> Array:
        value = attributes.get(name, ())
        return np.ravel(() if isinstance(value, str) else value).astype(dtype).view(meant)

    default = np.array([netCDF4.default_fillvals[dtype.str[1:]]]).astype(dtype).view(meant)
    fill = np.concatenate([numbers("_FillValue"), numbers("missing_value"), default])[0]
    offset, scale = attributes.get("add_offset", 0), attributes.get("scale_factor", 1)
    values = (np.asarray(data, np.float64) - offset) / scale
    if dtype.kind != "f":
        low, high = (int(end) for end in (np.iinfo(meant).min, np.iinfo(meant).max))
        values = np.clip(np.rint(values), low + (fill == low), high - (fill == high))
    valid = numbers("valid_range")
    for end in (*valid[:1], *numbers("valid_min")):
        values = np.maximum(values, end)
    for end in (*valid[1:], *numbers("valid_max")):
        values = np.minimum(values, end)
    gone = np.isnan(values)
    return np.where(gone, fill, np.where(gone, 0, values).astype(meant)).astype(meant).view(dtype)


FORMAT = Format(
    name="netcdf",
    words="a netCDF file",
    recognises=ends_in(".nc", ".nc4", ".cdf", ".netcdf"),
    read=read,
    options=("key", "lengths"),
    packages=("netCDF4",),
    extra="netcdf",
    suffix=".nc",
    write=in_one(dump),
)
