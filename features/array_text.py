"""Arrays inside JSON as base64 of their bytes: a state of thousands of numbers is read in microseconds.

A list of numbers must be made number by number, and then again into an array: half of what it takes to read a
bucket's state. What is kept stays plain text that any language reads: NumPy's name of the type, the shape, the
bytes in C order.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_WHOLE = [np.iinfo(width) for width in (np.int8, np.int16, np.int32, np.int64)]


def array_text(value: Any) -> Any:
    """An array as text and a NumPy number as a number: ``default`` of :func:`orjson.dumps`.

    Counts are mostly small: whole numbers are written in the narrowest type that holds them.

    >>> array_text(np.array([[1, 300]])), array_text(np.float64(0.5))
    ('<i2:1,2:AQAsAQ==', 0.5)

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(value, np.ndarray):
        shape = ",".join(map(str, value.shape))
        if value.dtype.kind == "i" and value.size:
            lowest, highest = int(value.min()), int(value.max())
            value = value.astype(next(w.dtype for w in _WHOLE if w.min <= lowest and highest <= w.max))
        return f"{value.dtype.str}:{shape}:{b64encode(value.tobytes()).decode()}"
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected an array or a number of NumPy, got {type(value).__name__}")


def read_array(value: Any, dtype: DTypeLike) -> NDArray[Any]:
    """A new array from :func:`array_text`'s text, from nested lists or from an array.

    >>> read_array("<i2:1,2:AQACAA==", np.int64).tolist(), read_array([[1, 2]], float).tolist()
    ([[1, 2]], [[1.0, 2.0]])

    Raises
    ------
    ValueError
        If the text is not of that form.
    """
    if not isinstance(value, str):
        return np.array(value, dtype)
    kind, shape, data = value.split(":")
    # A bytearray, since an array over bytes cannot be written to.
    flat = np.frombuffer(bytearray(b64decode(data)), kind)
    return flat.reshape([int(n) for n in shape.split(",")] if shape else ()).astype(dtype, copy=False)
