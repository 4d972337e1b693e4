"""How a primitive of the Client-Server Protocol is described, once for all syntaxes.

A structure is a frozen dataclass. Each field is ``Annotated`` with the element that
carries it on the wire; the annotation says value type and multiplicity (``str | None``:
at most one; ``tuple[User, ...]``: any number; no default: mandatory in every version).
The XML, WBXML and Plain Text syntaxes all walk what `describe` makes of it. Content
models: OMA IMPS CSP 1.1, 1.2 and 1.3 (``gateway/data/content-model.csv``).
"""

from __future__ import annotations

import datetime
import enum
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, make_dataclass
from typing import Any, ClassVar, TypeVar, dataclass_transform


class Version(enum.IntEnum):
    """A version of the protocol; they compare by age."""

    V1_1 = 11
    V1_2 = 12
    V1_3 = 13

    @property
    def text(self) -> str:
        """The version as the specifications write it, such as ``1.2``."""
        return f"{self // 10}.{self % 10}"


ALWAYS = tuple(Version)


class Kind(enum.Enum):
    """What an element holds."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    FLAG = "flag"
    FOREIGN = "foreign"
    STRUCTURE = "structure"


# Texts of people, secrets and content: their blanks are part of them. Around all other
# text, blanks are the layout of the sender.
_VERBATIM = frozenset(
    "AnswerOptionText ContainedvCard ContentData Description DirectContent FriendlyName"
    " InText InviteNote Name Nonce Note Password PresenceValue ResponseNote SName"
    " SearchString SegmentContent SystemMessageText Text Value VerificationKey".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """The element that carries a field: its wire name, versions and rules."""

    name: str
    since: Version = Version.V1_1
    until: Version = Version.V1_3
    but_not: frozenset[Version] = frozenset()
    mandatory: frozenset[Version] | None = None
    lenient: bool = False
    once_until: Version | None = None
    empty: bool = False
    foreign: bool = False
    pts: str | None = None

    def known_in(self, version: Version) -> bool:
        """Whether ``version`` has this element at this place."""
        return self.since <= version <= self.until and version not in self.but_not


def element(
    name: str,
    *,
    since: Version = Version.V1_1,
    until: Version = Version.V1_3,
    but_not: tuple[Version, ...] = (),
    mandatory: tuple[Version, ...] | None = None,
    lenient: bool = False,
    once_until: Version | None = None,
    foreign: bool = False,
    pts: str | None = None,
) -> Element:
    """Describe a child element.

    ``mandatory`` names the versions that demand it where not all do (left out: all of
    them if the field has no default, else none). ``lenient``: a decoder does without it
    all the same, because a known client leaves it out. ``once_until``: the last version
    that allows only one of a repeated element. ``foreign``: the content belongs to
    another namespace and is kept as it came. ``pts``: the Plain Text Syntax code.
    """
    return Element(
        name=name,
        since=since,
        until=until,
        but_not=frozenset(but_not),
        mandatory=None if mandatory is None else frozenset(mandatory),
        lenient=lenient,
        once_until=once_until,
        foreign=foreign,
        pts=pts,
    )


def flag(
    name: str,
    *,
    since: Version = Version.V1_1,
    until: Version = Version.V1_3,
    pts: str | None = None,
) -> Element:
    """Describe a child element that says all by being there, such as ``GETSPI``."""
    return Element(name=name, since=since, until=until, empty=True, pts=pts)


class Structure:
    """An element with children. ``NAME`` is its wire name."""

    __slots__ = ()

    NAME: ClassVar[str]
    # Versions whose child order is not the order of the fields.
    ORDER: ClassVar[Mapping[Version, tuple[str, ...]]] = {}
    # The field that is the element's own text in versions up to TEXT_UNTIL.
    TEXT_FIELD: ClassVar[str | None] = None
    TEXT_UNTIL: ClassVar[Version | None] = None


class Primitive(Structure):
    """A structure that a transaction carries."""

    __slots__ = ()

    SINCE: ClassVar[Version] = Version.V1_1
    UNTIL: ClassVar[Version] = Version.V1_3
    # Wire names of versions that do not use NAME.
    NAMES: ClassVar[Mapping[Version, str]] = {}
    PTS: ClassVar[str | None] = None

    @classmethod
    def known_in(cls, version: Version) -> bool:
        """Whether ``version`` has this primitive."""
        return cls.SINCE <= version <= cls.UNTIL

    @classmethod
    def name_in(cls, version: Version) -> str:
        """The wire name in ``version``: 1.1 says BlockUser, 1.2 BlockEntity."""
        return cls.NAMES.get(version, cls.NAME)


_Class = TypeVar("_Class", bound=type[Structure])


@dataclass_transform(frozen_default=True, kw_only_default=True)
def structure(name: str | None = None) -> Callable[[_Class], _Class]:
    """Make a class a structure, named as its element or by ``name``."""

    def decorate(cls: _Class) -> _Class:
        made: Any = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        made.NAME = name or cls.__name__
        return typing.cast(_Class, made)

    return decorate


@dataclass_transform(frozen_default=True, kw_only_default=True)
def primitive(
    name: str,
    *,
    since: Version = Version.V1_1,
    until: Version = Version.V1_3,
    names: Mapping[Version, str] | None = None,
    pts: str | None = None,
) -> Callable[[_Class], _Class]:
    """Make a class a primitive: wire name, versions that have it, PTS code."""

    def decorate(cls: _Class) -> _Class:
        made: Any = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        made.NAME = name
        made.SINCE = since
        made.UNTIL = until
        made.NAMES = dict(names or {})
        made.PTS = pts
        return typing.cast(_Class, made)

    return decorate


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a description: where it lives, how it is written.

    ``verbatim``: blanks at either end of the text belong to the value.
    """

    index: int
    attribute: str
    element: Element
    kind: Kind
    structure: type[Structure] | None
    repeated: bool
    default: object
    mandatory: frozenset[Version]
    verbatim: bool

    def single_in(self, version: Version) -> bool:
        """Whether ``version`` allows at most one such element."""
        once = self.element.once_until
        return not self.repeated or (once is not None and version <= once)


class Description:
    """What the syntaxes need to know of one structure.

    ``fields`` are in declaration order, ``by_name`` finds them by element name, in
    whatever version; `ordered` gives the fields of one version in its order.
    """

    __slots__ = (
        "_demanded",
        "_ordered",
        "by_name",
        "cls",
        "fields",
        "text_field",
        "thawed",
    )

    def __init__(self, cls: type[Structure]) -> None:
        self.cls = cls
        self.fields = _fields(cls)
        self.by_name = {field.element.name: field for field in self.fields}
        self.text_field = next(
            (field for field in self.fields if field.attribute == cls.TEXT_FIELD), None
        )
        self._ordered = {version: self._order(version) for version in Version}
        self._demanded = {
            version: tuple(
                field
                for field in self.fields
                if version in field.mandatory and not field.element.lenient
            )
            for version in Version
        }
        self.thawed = thawed(cls)

    def ordered(self, version: Version) -> tuple[Field, ...]:
        """The fields that ``version`` knows, in the order it sends them."""
        return self._ordered[version]

    def demanded(self, version: Version) -> tuple[Field, ...]:
        """The fields without which a decoder does not take the structure."""
        return self._demanded[version]

    def text_in(self, version: Version) -> Field | None:
        """The field that is the element's own text in ``version``, if any."""
        until = self.cls.TEXT_UNTIL
        return self.text_field if until is not None and version <= until else None

    def build(self, values: list[Any]) -> Any:
        """Make the structure from the values of all `fields`, in declaration order."""
        made = self.thawed(*values)
        made.__class__ = self.cls
        return made

    def _order(self, version: Version) -> tuple[Field, ...]:
        known = [field for field in self.fields if field.element.known_in(version)]
        names = self.cls.ORDER.get(version)
        if names is None:
            return tuple(known)
        return tuple(sorted(known, key=lambda field: names.index(field.element.name)))


def thawed(cls: type) -> Any:
    """The unfrozen twin of a frozen slotted dataclass, with positional arguments.

    A frozen dataclass sets each slot by ``object.__setattr__``; the twin has the same
    slots and is filled five times as fast. Its instance then takes its place by
    ``made.__class__ = cls``, after which nobody can tell. For decoders only.
    """
    return make_dataclass(
        cls.__name__,
        [item.name for item in fields(cls)],
        bases=cls.__bases__,
        slots=True,
    )


_DESCRIPTIONS: dict[type[Structure], Description] = {}


def describe(cls: type[Structure]) -> Description:
    """The description of a structure, worked out once.

    Raises TypeError when a field lacks its `element` annotation: a defect of ours.
    """
    described = _DESCRIPTIONS.get(cls)
    if described is None:
        described = _DESCRIPTIONS[cls] = Description(cls)
    return described


_KINDS: Mapping[object, Kind] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    bool: Kind.BOOLEAN,
    datetime.datetime: Kind.DATETIME,
}


def _fields(cls: type[Structure]) -> tuple[Field, ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    made: list[Field] = []
    for item in fields(cls):  # type: ignore[arg-type]
        annotation = hints[item.name]
        described = next(
            (
                part
                for part in getattr(annotation, "__metadata__", ())
                if isinstance(part, Element)
            ),
            None,
        )
        if described is None:
            raise TypeError(f"{cls.__name__}.{item.name} has no element")
        default = None if item.default is MISSING else item.default
        made.append(
            _field(
                len(made),
                item.name,
                described,
                typing.get_args(annotation)[0],
                default,
                item.default is MISSING,
            )
        )
    return tuple(made)


def _field(
    index: int,
    attribute: str,
    described: Element,
    hint: Any,
    default: object,
    always: bool,
) -> Field:
    value, repeated = _value_type(hint)
    kind = _KINDS.get(value, Kind.STRUCTURE)
    if described.empty:
        kind = Kind.FLAG
    elif described.foreign:
        kind = Kind.FOREIGN
    mandatory = described.mandatory
    if mandatory is None:
        mandatory = frozenset(Version) if always else frozenset()
    return Field(
        index=index,
        attribute=attribute,
        element=described,
        kind=kind,
        structure=value if kind is Kind.STRUCTURE else None,
        repeated=repeated,
        default=default,
        mandatory=frozenset(v for v in mandatory if described.known_in(v)),
        verbatim=described.name in _VERBATIM,
    )


def _value_type(hint: Any) -> tuple[Any, bool]:
    """The type of one value, and whether there may be several."""
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    if isinstance(hint, types.UnionType):
        return next(a for a in typing.get_args(hint) if a is not types.NoneType), False
    return hint, False
