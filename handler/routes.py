"""The kind of answer that a request asks for, found by marks that only TorchServe can set."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any


class Route(Enum):
    """The kind of answer that a request asks for."""

    PREDICT = "predict"
    EXPLAIN = "explain"
    DESCRIBE = "describe"  # the management API's ``?customized=true``


def torchserve_route(fields: Mapping[str, Any], headers: Mapping[str, Any]) -> Route:
    """Return the route by which a request came to TorchServe.

    TorchServe marks the route by headers that stand beside those of the client:

    - ``explain``, in lower case, is True or False for every request to predictions, explanations or
      KServe's addresses. It replaces a header of that name that the client has sent.
    - ``describe`` is set by the management API alone, for which there are no fields. A client may
      send the header too, but an inference request has at least the field ``body``, unless it is an
      empty form, which is known by its content type.

    Parameters
    ----------
    fields
        The body or the form's fields, as the handler gets them.
    headers
        The headers, spelled as the handler gets them.
    """
    if headers.get("explain") == "True":
        return Route.EXPLAIN
    by_management = "explain" not in headers and not fields
    typed = any(name.lower() == "content-type" for name in headers)
    if headers.get("describe") == "True" and by_management and not typed:
        return Route.DESCRIBE
    return Route.PREDICT
