"""Which of TorchServe's addresses a request came to, by marks that no caller can set."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any


class Route(Enum):
    """The kind of answer that a request asks for."""

    PREDICT = "predict"
    EXPLAIN = "explain"
    DESCRIBE = "describe"  # the management API's ``?customized=true``


def route(fields: Mapping[str, Any], headers: Mapping[str, Any]) -> Route:
    """Return where a request came to.

    TorchServe marks that by headers, beside those that the caller has sent. ``explain``, in lower
    case, it sets on whatever comes to predictions, explanations or KServe's addresses, to True or
    False and after the caller's own. ``describe`` only the management API sets, and there are no
    fields with it. A request for inference has at least the field ``body``, unless it is an empty
    form, which it says by a content type.

    Parameters
    ----------
    fields
        The body or the form's fields, as the handler gets them.
    headers
        In the spelling in which the handler gets them.
    """
    if headers.get("explain") == "True":
        return Route.EXPLAIN
    by_management = "explain" not in headers and not fields
    typed = any(name.lower() == "content-type" for name in headers)
    if headers.get("describe") == "True" and by_management and not typed:
        return Route.DESCRIBE
    return Route.PREDICT
