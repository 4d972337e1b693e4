"""Hypothesis strategies for every primitive, made from the descriptions.

What they make is what the version can carry: so a syntax must give it back unchanged.
"""

from __future__ import annotations

import datetime
from typing import Any

from hypothesis import strategies as st

from gateway.csp.attributes import PresenceSubList
from gateway.csp.envelope import Message, Mode, Transaction
from gateway.csp.schema import Field, Kind, Primitive, Structure, Version, describe
from gateway.csp.shared import SegmentInfo

_CHARACTERS = st.characters(
    codec="utf-8",
    exclude_categories=("Cs", "Cc"),
    include_characters="\t\n\r",
    exclude_characters="\ufffe\uffff",
)
TEXTS = st.one_of(
    st.text(_CHARACTERS, max_size=12),
    st.sampled_from(["wv:alice@example.org", "<&>", "]]>", " a ", "&amp;", "\u00a0x"]),
)
TOKENS = TEXTS.map(str.strip)
FOREIGN = st.sampled_from(
    [
        "",
        "text",
        '<a xmlns="urn:x" b="1">t<c/></a>',
        '<p:a xmlns:p="urn:p" xmlns="urn:q">t</p:a>z',
    ]
)
TIMES = st.datetimes(
    min_value=datetime.datetime(1970, 1, 1),
    max_value=datetime.datetime(2099, 12, 31),
    timezones=st.sampled_from([None, datetime.UTC]),
).map(lambda when: when.replace(microsecond=0))


def _values(field: Field, version: Version) -> st.SearchStrategy[Any]:
    if field.structure is not None:
        return structures(field.structure, version)
    if field.kind is Kind.FOREIGN:
        return FOREIGN
    if field.kind is Kind.INTEGER:
        return st.integers(min_value=0, max_value=2**32)
    if field.kind in (Kind.BOOLEAN, Kind.FLAG):
        return st.booleans()
    if field.kind is Kind.DATETIME:
        return TIMES
    return TEXTS if field.verbatim else TOKENS


def _field(field: Field, version: Version) -> st.SearchStrategy[Any]:
    values = _values(field, version)
    must = version in field.mandatory
    if field.repeated:
        most = 1 if field.single_in(version) else 2
        return st.lists(values, min_size=int(must), max_size=most).map(tuple)
    if must or field.kind in (Kind.FLAG, Kind.FOREIGN):
        return values
    # A presence list of everything would be most of what is tested.
    return st.none() | values


def structures(cls: type[Structure], version: Version) -> st.SearchStrategy[Any]:
    """Structures of ``cls`` as ``version`` has them."""
    own = describe(cls).text_in(version)
    if own is not None:
        texts = TOKENS.filter(bool)
        return st.builds(cls, **{own.attribute: st.none() | texts})
    known = describe(cls).ordered(version)
    if cls is PresenceSubList:
        return st.lists(
            st.sampled_from(known), unique_by=lambda field: field.index, max_size=3
        ).flatmap(
            lambda some: st.builds(
                cls, **{field.attribute: _field(field, version) for field in some}
            )
        )
    return st.builds(
        cls, **{field.attribute: _field(field, version) for field in known}
    )


def messages(
    cls: type[Primitive], version: Version, *, max_transactions: int = 2
) -> st.SearchStrategy[Message]:
    """Messages of ``version`` whose transactions carry ``cls``."""
    later = version > Version.V1_1
    none = st.none()
    transactions = st.builds(
        Transaction,
        id=none | TOKENS.filter(bool),
        mode=st.sampled_from(Mode),
        primitive=structures(cls, version),
        segment=none | structures(SegmentInfo, version)
        if version is Version.V1_3
        else none,
        ext_blocks=st.lists(FOREIGN, max_size=1).map(tuple) if later else st.just(()),
    )
    return st.builds(
        Message,
        version=st.just(version),
        session_id=none | TOKENS,
        transactions=st.lists(transactions, min_size=1, max_size=max_transactions).map(
            tuple
        ),
        poll=none | st.booleans(),
        cir=none | st.booleans() if later else none,
    )
