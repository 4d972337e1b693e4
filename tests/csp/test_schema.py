"""The description of the protocol against the tables of the specifications."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import pytest

from gateway.csp.catalogue import PRIMITIVES, STRUCTURES, primitive_named
from gateway.csp.common import CapabilityList, LoginRequest, Result, Status
from gateway.csp.messaging import BlockEntityRequest, MessageInfo
from gateway.csp.presence import CommC
from gateway.csp.schema import Kind, Structure, Version, describe, structure
from gateway.data import rows

VERSIONS = {version.text: version for version in Version}
ENVELOPE = {
    "WV-CSP-Message",
    "Session",
    "SessionDescriptor",
    "Transaction",
    "TransactionDescriptor",
    "TransactionContent",
    "ExtBlock",
}

ADDED = {
    ("1.3", "SubscribePresence-Request", "AutoSubscribe"): "clients set to 1.3 send it",
    ("1.3", "Notification-Request", "GrantListInUse"): "the pair of BlockListInUse",
    ("1.2", "Login-Request", "SessionID"): "re-establishment came with 1.2",
    ("1.2", "UserMapList", "Mapping"): "a client reads it without UserMapping",
    ("1.3", "UserMapList", "Mapping"): "a client reads it without UserMapping",
    ("1.2", "WV-CSP-VersionDiscovery-Request", "ExtendedData"): "an element of 1.2",
    ("1.2", "WV-CSP-VersionDiscovery-Response", "ExtendedData"): "an element of 1.2",
}
"""Children that the content model lacks and the prose of the reference has."""

COUNTED_OTHERWISE = {
    ("1.1", "Login-Request", "DigestSchema"): "one element a schema, by the models",
    ("1.3", "DefaultAttributeList", "PresenceSubList"): "any number, by the prose",
    ("1.3", "SearchPairList", "SearchElement"): "one condition a list is ours to send",
    ("1.3", "SearchPairList", "SearchString"): "one condition a list is ours to send",
    ("1.3", "SearchPairList", "PairID"): "one condition a list is ours to send",
}
"""Children whose number differs from the content model."""


def model() -> dict[tuple[str, str], list[dict[str, str]]]:
    """The rows of the content model by version and parent, in order."""
    found = defaultdict(list)
    for row in rows("content-model"):
        found[row["version"], row["parent"]].append(row)
    for children in found.values():
        children.sort(key=lambda row: int(row["seq"]))
    return found


def described(parent: str) -> type[Structure]:
    name = "BlockEntity-Request" if parent == "BlockUser-Request" else parent
    return STRUCTURES[name]


PARENTS = sorted(key for key in model() if key[1] not in ENVELOPE)


@pytest.mark.parametrize(("version", "parent"), PARENTS)
def test_children_are_those_of_the_content_model(version: str, parent: str) -> None:
    """Same children in the same order, but for the additions that are accounted for."""
    fields = describe(described(parent)).ordered(VERSIONS[version])
    ours = [field.element.name for field in fields]
    added = [child for v, p, child in ADDED if (v, p) == (version, parent)]
    assert set(added) <= set(ours)
    table = [row["child"] for row in model()[version, parent]]
    assert [name for name in ours if name not in added] == table


@pytest.mark.parametrize(("version", "parent"), PARENTS)
def test_children_are_counted_as_in_the_content_model(
    version: str, parent: str
) -> None:
    """Repeated where the table says ``*``, mandatory where it says 1.

    The 1.3 rows give order and repetition only: their minimum is always 0.
    """
    fields = describe(described(parent)).by_name
    for row in model()[version, parent]:
        field = fields[row["child"]]
        single = field.single_in(VERSIONS[version])
        differs = (version, parent, row["child"]) in COUNTED_OTHERWISE
        assert (single == (row["max"] == "1")) != differs, row
        if version != "1.3":
            mandatory = VERSIONS[version] in field.mandatory
            assert mandatory == (row["min"] == "1"), row


@pytest.mark.parametrize("version", Version)
def test_versions_have_their_primitives(version: Version) -> None:
    """The primitives of a version are the children of its TransactionContent."""
    discovery = "WV-CSP-VersionDiscovery"
    ours = {
        cls.name_in(version)
        for cls in PRIMITIVES.values()
        if cls.known_in(version) and not cls.NAME.startswith(discovery)
    }
    assert ours == {row["child"] for row in model()[version.text, "TransactionContent"]}


def test_no_structure_is_left_out() -> None:
    """Every structure is a parent of the content model or an empty primitive."""
    parents = {parent for _, parent in model()}
    for name, cls in STRUCTURES.items():
        assert name in parents or cls in PRIMITIVES.values()


def test_value_types_are_those_of_the_table() -> None:
    """Integers, booleans and times as in the table; SearchID is no sure integer."""
    kinds = {
        row["element"]: Kind(row["type"])
        for row in rows("wbxml-typed-elements")
        if row["type"] != "binary-or-string" and row["element"] != "SearchID"
    }
    met = set()
    for cls in STRUCTURES.values():
        for field in describe(cls).fields:
            if field.structure is None and field.kind is not Kind.FLAG:
                expected = kinds.get(field.element.name, field.kind)
                if expected in (Kind.TEXT, Kind.FOREIGN):
                    expected = field.kind
                assert field.kind is expected, (cls, field)
                met.add(field.element.name)
    assert set(kinds) - met == {"Poll", "CIR"}  # of the envelope


def test_pts_codes_are_those_of_the_table() -> None:
    """Primitives have the codes of the table, the others none."""
    codes = {
        row["name"]: row["code"]
        for row in rows("pts-codes")
        if row["kind"] == "primitive" and row["code"]
    }
    assert {
        name: cls.PTS for name, cls in PRIMITIVES.items() if cls.PTS is not None
    } == codes


def test_structures_are_values() -> None:
    """Frozen, slotted, compared by content; whatever made them."""
    plain = Result(code=200)
    built = describe(Result).build([200, None, (), None, None])
    assert built == plain and hash(built) == hash(plain)
    assert type(built) is Result and repr(built) == repr(plain)
    assert not hasattr(built, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        built.code = 201  # type: ignore[misc]


def test_names_of_primitives() -> None:
    """Each version's own name, and those of known clients."""
    assert BlockEntityRequest.name_in(Version.V1_1) == "BlockUser-Request"
    assert BlockEntityRequest.name_in(Version.V1_2) == "BlockEntity-Request"
    assert primitive_named("BlockUser-Request") is BlockEntityRequest
    assert primitive_named("KeepAliveResponse") is PRIMITIVES["KeepAlive-Response"]
    assert primitive_named("MessageInfo") is None


def test_one_name_may_mean_two_things() -> None:
    """Status is a primitive, and a word in CommC."""
    assert describe(CommC).by_name["Status"].kind is Kind.TEXT
    assert STRUCTURES["Status"] is Status


def test_order_and_presence_by_version() -> None:
    """Children come and go, and change places, between versions."""

    def names(cls: type[Structure], version: Version) -> list[str]:
        return [f.element.name for f in describe(cls).ordered(version)]

    assert "Font" not in names(MessageInfo, Version.V1_2)
    assert "Font" in names(MessageInfo, Version.V1_3)
    assert names(CapabilityList, Version.V1_2)[0] == "ClientType"
    assert names(CapabilityList, Version.V1_3)[0] == "AcceptedContentType"
    assert "TCPPort" in names(CapabilityList, Version.V1_1)
    assert "TCPPort" not in names(CapabilityList, Version.V1_2)
    assert "SessionID" not in names(LoginRequest, Version.V1_1)


def test_field_without_element_is_refused() -> None:
    """A description must be whole."""

    @structure()
    class Broken(Structure):
        field: str

    with pytest.raises(TypeError, match="Broken.field has no element"):
        describe(Broken)
