"""Arrays in JSON as base64 of their bytes, so that a state of thousands of numbers decodes in microseconds.

Decoding a list of numbers and converting it to an array would take half of the time to read a bucket's state. The
format is plain text that any language can decode: NumPy's name of the dtype, the shape, the bytes in C order.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_WHOLE = [np.iinfo(width) for width in (np.int8, np.int16, np.int32, np.int64)]


def array_text(value: Any) -> Any:
    """Encode an array as text or convert a NumPy number; serves as ``default`` of :func:`orjson.dumps`.

    Integers are stored in the narrowest dtype that holds them, because most counts are small.

    Raises
    ------
    TypeError
        If the value is neither an array nor a NumPy number.

    Examples
    --------
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
    raise TypeError(f"expected a NumPy array or number, got {type(value).__name__}")


def read_array(value: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array from the text of :func:`array_text`, from nested lists or from an array.

    Raises
    ------
    ValueError
        If the text does not have the form of :func:`array_text`.

    Examples
    --------
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
    # An array over bytes would be read-only, so a bytearray is used.
    flat = np.frombuffer(bytearray(b64decode(data)), kind)
    return flat.reshape([int(n) for n in shape.split(",")] if shape else ()).astype(dtype, copy=False)
