"""Faults on demand: which ones there are, what they say about when, and whom they strike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from milvue_async.simulator.chance import chance

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ROUTE_NAMES",
    "Fault",
    "FaultAccount",
    "FaultKind",
    "Faults",
    "fault_from",
    "first_problem",
    "parse_fault",
]

FaultKind = Literal[
    "status",
    "early_status",
    "delay",
    "hang",
    "hang_in_body",
    "hang_after_body",
    "reset_before_body",
    "reset_in_body",
    "reset_after_body",
    "truncate",
    "wrong_content_type",
    "json_part",
    "gzip_parts",
    "garbage",
    "garbage_http",
]

ROUTE_NAMES = (
    "post_study",
    "get_status",
    "get_study",
    "get_smarturgences",
    "get_smartxpert",
    "post_interesting",
    "put_object",
    "get_object",
)

_MAX_SECONDS = 24 * 3600.0
_IN_BODY = frozenset({"hang_in_body", "reset_in_body"})
_BODIES = _IN_BODY | {"hang_after_body", "reset_before_body", "reset_after_body"}
_STATUSES = frozenset({"status", "early_status"})
# Parameter to the kinds that have it: any other is refused, so that none is passed over.
_PARAMETERS = {
    "status": _STATUSES,
    "retry_after": _STATUSES,
    "message": _STATUSES,
    "seconds": frozenset({"delay"}),
    "at": _IN_BODY | {"truncate"},
    "of": _BODIES,
    "content_type": frozenset({"wrong_content_type"}),
}
_ROUTE = re.compile(r"(?:(?P<method>[A-Z]+) )?(?P<path>(?:/|\*\*)\S*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong with some requests.

    A request is struck if ``probability``, ``every`` and ``count`` all allow it.

    Attributes:
        kind: What goes wrong; ``docs/simulator.md`` has a paragraph on each.
        route: Whose requests: the name of a route, one of `ROUTE_NAMES`; or a path, with a
            method and a space before it or without, in which ``*`` stands for anything within
            a segment and ``**`` for anything.
        probability: Share of them that are struck, from 0 to 1.
        every: Strikes only each n-th of them.
        count: Strikes so often at most.
        seed: Draws other numbers than a fault that is the same but for this.
        status: HTTP status of ``status`` and ``early_status``, from 200 to 599.
        retry_after: Seconds of the ``Retry-After`` sent with that.
        message: What its ErrorResponse says.
        seconds: How long a ``delay`` is.
        at: How much of the body goes through before a reset, a hang or a cut in it: a share of
            it, from 0 to 1.
        of: Whose body a reset or hang goes by. None: the request's for POST and PUT, else the
            answer's.
        content_type: What ``wrong_content_type`` says instead.

    Raises:
        ValueError: A value is not possible, or of no use to this kind.
    """

    kind: FaultKind
    route: str = "**"
    probability: float = 1.0
    every: int | None = None
    count: int | None = None
    seed: int = 0
    status: int = 503
    retry_after: int | None = None
    message: str | None = None
    seconds: float = 1.0
    at: float = 0.5
    of: Literal["request", "answer"] | None = None
    content_type: str = "text/html"

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            _refuse(f"kind {self.kind!r} is not one of {', '.join(get_args(FaultKind))}")
        _check_route(self.route)
        for name, kinds in _PARAMETERS.items():
            default = type(self).__dataclass_fields__[name].default
            if getattr(self, name) != default and self.kind not in kinds:
                _refuse(f"{self.kind} has no {name}")
        _check_between(self, "probability", 0, 1)
        _check_between(self, "at", 0, 1)
        _check_between(self, "status", HTTPStatus.OK, 599)
        _check_between(self, "seconds", 0, _MAX_SECONDS)
        for name in ("every", "count", "retry_after"):
            if (value := getattr(self, name)) is not None and value < 1:
                _refuse(f"{name} is {value}: it must be 1 or more")

    def matches(self, method: str, path: str, name: str) -> bool:
        """Whether a request is one of those it may strike.

        Args:
            method: Of the request.
            path: Of the request, as it came over the wire, without its query.
            name: Of the route.
        """
        if self.route in ROUTE_NAMES:
            return self.route == name
        route = _ROUTE.fullmatch(self.route)
        if route is None or route["method"] not in (None, method):
            return False
        return re.fullmatch(_pattern(route["path"]), path) is not None


@dataclass(frozen=True, slots=True)
class FaultAccount:
    """What became of a fault.

    Attributes:
        fault: Which one.
        requests: Requests that it could have struck.
        strikes: Those that it did strike.
    """

    fault: Fault
    requests: int
    strikes: int


@dataclass(slots=True)
class _Counted:
    fault: Fault
    number: int
    requests: int = 0
    strikes: int = 0


class Faults:
    """The faults of one simulator. The same requests in the same order are struck the same.

    Args:
        faults: Those of its configuration, to which `reset` returns.
        seed: What chance is drawn from.
    """

    def __init__(self, faults: Iterable[Fault], seed: int) -> None:
        self._configured = tuple(faults)
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Go back to the faults of the configuration, and count anew."""
        self.replace(self._configured)

    def replace(self, faults: Iterable[Fault]) -> None:
        """Have these faults instead, and count anew."""
        self._faults = [_Counted(fault, number) for number, fault in enumerate(faults)]

    def strike(self, method: str, path: str, name: str) -> Fault | None:
        """The fault that strikes a request; the first one, if it is more than one.

        Args:
            method: Of the request.
            path: Of the request, as it came over the wire, without its query.
            name: Of the route.
        """
        matching = [each for each in self._faults if each.fault.matches(method, path, name)]
        for counted in matching:
            counted.requests += 1
        struck = next((each for each in matching if self._is_due(each)), None)
        if struck is None:
            return None
        struck.strikes += 1
        return struck.fault

    def account(self) -> list[FaultAccount]:
        """What became of each, in their order."""
        return [FaultAccount(each.fault, each.requests, each.strikes) for each in self._faults]

    def _is_due(self, counted: _Counted) -> bool:
        fault = counted.fault
        if fault.count is not None and counted.strikes >= fault.count:
            return False
        if fault.every is not None and counted.requests % fault.every:
            return False
        drawn = chance(self._seed, "fault", fault.seed, counted.number, counted.requests)
        return drawn < fault.probability


def parse_fault(text: str) -> Fault:
    """A fault as options and files write it: ``ROUTE:KIND``, ``ROUTE:KIND:PARAMETERS``.

    Args:
        text: Such as ``POST /v3/studies:reset_after_body:0.1`` or
            ``get_status:status:count=2,status=429,retry_after=1``. A parameter without a name
            is the probability.

    Raises:
        ValueError: It is not so written, or the fault is not possible.
    """
    route, _, rest = text.partition(":")
    kind, _, parameters = rest.partition(":")
    values: dict[str, str] = {"route": route.strip(), "kind": kind.strip()}
    for parameter in filter(None, parameters.split(",")):
        name, equals, value = parameter.partition("=")
        values[name.strip() if equals else "probability"] = (value if equals else name).strip()
    return fault_from(values)


def fault_from(values: Any) -> Fault:
    """A fault from a JSON object, a TOML table, or one of the same text as `parse_fault` takes.

    Raises:
        ValueError: It is none, in one line.
    """
    if isinstance(values, str):
        return parse_fault(values)
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        raise ValueError(f"fault: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """What pydantic found first, and where, in one line and without the value."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = "".join(f"{place}: " for place in problem["loc"])
    return f"{where}{problem['msg'].removeprefix('Value error, ')}"


def _check_route(route: str) -> None:
    if route not in ROUTE_NAMES and not _ROUTE.fullmatch(route):
        names = ", ".join(ROUTE_NAMES)
        _refuse(f"route {route!r} is no path such as 'GET /v3/studies/*' or **, nor one of {names}")


def _check_between(fault: Fault, name: str, low: float, high: float) -> None:
    value = getattr(fault, name)
    if not low <= value <= high:
        _refuse(f"{name} is {value}: it must be from {low} to {high}")


def _refuse(problem: str) -> None:
    raise ValueError(problem)


def _pattern(path: str) -> str:
    pieces = re.split(r"(\*\*?)", path)
    wild = {"**": ".*", "*": "[^/]*"}
    return "".join(wild.get(piece) or re.escape(piece) for piece in pieces)


_ADAPTER = TypeAdapter(Fault)
