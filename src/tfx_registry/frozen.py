"""A dictionary that does not change, so that records which hold it can be shared.

`types.MappingProxyType` would do the same, but cannot be pickled, copied or written as JSON.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

__all__ = ["FrozenDict"]

K = TypeVar("K")
V = TypeVar("V")


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    raise TypeError("a record does not change; make a copy with dict(...) and change that")


class FrozenDict(dict[K, V]):
    """A `dict` that refuses to be changed.

    Laws: it equals, prints and encodes like the `dict` with the same items; it survives pickling;
    a copy of it by `copy.copy` or `copy.deepcopy` is frozen too, `dict(it)` and `it.copy()` are
    plain dictionaries.
    """

    __slots__ = ()

    __setitem__ = _refuse
    __delitem__ = _refuse
    __ior__ = _refuse
    clear = _refuse
    pop = _refuse
    popitem = _refuse
    setdefault = _refuse
    update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)
