"""Cells that hold cells: in sequence, as a list, and by name."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self, overload

from ..ir import ModelError
from .cell import Cell


class _Held(Cell):
    """Cells by position; their names are the positions, or those of a mapping."""

    def append(self, cell: Cell) -> None:
        """Put a cell at the end."""
        self._put(str(len(self)), cell)

    def extend(self, cells: Iterable[Cell]) -> Self:
        """Put cells at the end."""
        for cell in cells:
            self.append(cell)
        return self

    def insert(self, index: int, cell: Cell) -> None:
        """Put a cell in front of the one at ``index``; those behind move on."""
        if not -len(self) <= index <= len(self):
            raise ModelError(f"{type(self).__name__}: index {index} for {len(self)} cells")
        held = list(self)
        held.insert(index + len(self) if index < 0 else index, _checked(cell))
        self._renumber(held)

    def __len__(self) -> int:
        return len(self._cells)

    def __bool__(self) -> bool:
        return bool(self._cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(list(self._cells.values()))

    @overload
    def __getitem__(self, index: int) -> Cell: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Cell | Self:
        if isinstance(index, slice):
            return self._part(list(self._cells.items())[index])
        return list(self._cells.values())[index]

    def _part(self, items: list[tuple[str, Cell]]) -> Self:
        """A holder of some of the cells, which names their parameters anew, as in MindSpore."""
        raise NotImplementedError

    def __setitem__(self, index: int, cell: Cell) -> None:
        self._put(list(self._cells)[index], cell)

    def __delitem__(self, index: int | slice) -> None:
        held = list(self)
        del held[index]
        self._renumber(held)

    def _put(self, name: str, cell: Cell) -> None:
        if self._auto_prefix:
            _checked(cell).update_parameters_name(f"{self._prefix()}{name}.")
        self._cells[name] = _checked(cell)

    def _renumber(self, cells: list[Cell]) -> None:
        prefix = self._prefix()
        self._cells.clear()
        for place, cell in enumerate(cells):
            if self._auto_prefix:
                cell.update_parameters_name(f"{prefix}{place}.")
            self._cells[str(place)] = cell

    def _prefix(self) -> str:
        """What the names of parameters here begin with, up to the cell's: "" before any is set."""
        for name, cell in self._cells.items():
            for path, parameter in cell.parameters_and_names():
                if parameter.name.endswith(f"{name}.{path}"):
                    return parameter.name[: -len(f"{name}.{path}")]
        return ""


class SequentialCell(_Held):
    """Cells applied one after the other; given one by one, as a list, or as a dict."""

    def __init__(self, *cells: Cell | Iterable[Cell] | Mapping[str, Cell]) -> None:
        super().__init__()
        if len(cells) == 1 and isinstance(cells[0], Mapping):
            for name, cell in cells[0].items():
                self._put(name, cell)
            return
        given: Iterable[Any] = cells
        if len(cells) == 1 and not isinstance(cells[0], Cell):
            given = cells[0]
        self.extend(given)

    def _part(self, items: list[tuple[str, Cell]]) -> Self:
        return type(self)(dict(items))

    def construct(self, x: Any) -> Any:
        """``x`` sent through all cells."""
        for cell in self:
            x = cell(x)
        return x


class CellList(_Held):
    """Cells by index, for ``construct`` to call as it likes; given as a list."""

    def __init__(self, *cells: Cell | Iterable[Cell], auto_prefix: bool = True) -> None:
        super().__init__(auto_prefix)
        given: Iterable[Any] = cells
        if len(cells) == 1 and not isinstance(cells[0], Cell):
            given = cells[0]
        self.extend(given)

    def _part(self, items: list[tuple[str, Cell]]) -> Self:
        return type(self)([cell for _, cell in items])

    def __iadd__(self, cells: Iterable[Cell]) -> Self:
        return self.extend(cells)


class CellDict(Cell):
    """Cells by name, for ``construct`` to call as it likes; given as a mapping or as pairs."""

    def __init__(
        self,
        cells: Mapping[str, Cell] | Iterable[tuple[str, Cell]] = (),
        auto_prefix: bool = True,
    ) -> None:
        super().__init__(auto_prefix)
        self.update(cells)

    def update(self, cells: Mapping[str, Cell] | Iterable[tuple[str, Cell]]) -> None:
        """Put cells in, in order; those of names that are there are replaced."""
        for name, cell in dict(cells).items():
            self[name] = cell

    def __getitem__(self, name: str) -> Cell:
        return self._cells[name]

    def __setitem__(self, name: str, cell: Cell) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ModelError(f"CellDict: {name!r} cannot name a cell")
        if isinstance(_checked(cell), (CellDict, _Held)):
            raise ModelError(f"CellDict does not hold a {type(cell).__name__}")
        if self._auto_prefix:
            cell.update_parameters_name(f"{name}.")
        self._cells[name] = cell

    def __delitem__(self, name: str) -> None:
        del self._cells[name]

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._cells))

    def __contains__(self, name: object) -> bool:
        return name in self._cells

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._cells.keys()

    def values(self) -> ValuesView[Cell]:
        """The cells."""
        return self._cells.values()

    def items(self) -> ItemsView[str, Cell]:
        """Names and cells."""
        return self._cells.items()

    def pop(self, name: str) -> Cell:
        """Take a cell out."""
        return self._cells.pop(name)

    def clear(self) -> None:
        """Take all cells out."""
        self._cells.clear()


def _checked(cell: Any) -> Cell:
    if not isinstance(cell, Cell):
        raise ModelError(f"a {type(cell).__name__} is not a cell")
    return cell
