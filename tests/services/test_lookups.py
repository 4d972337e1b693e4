"""Look-ups: the provider, versions, addresses, one's own presence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from gateway.csp.common import (
    GetSPInfoResponse,
    Status,
    VersionDiscoveryResponse,
)
from gateway.csp.presence import GetPresenceResponse
from gateway.csp.schema import Version
from gateway.services.node import Node
from tests.services.doubles import Core, Handset, result_of, subscriber

V1_1, V1_2, V1_3 = Version


# -- GetSPInfo -------------------------------------------------------------------------


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("inside", [True, False])
def test_the_provider_is_told_to_everybody(
    make: Callable[..., Node], version: Version, inside: bool
) -> None:
    """In a session and out of it, with the ClientID that asked."""
    node = make(gateway={"description": "For tests", "url": "http://im.example.com/"})
    handset = Handset(node, version=version)
    if inside:
        handset.open()
    answer = handset.ask(f"<GetSPInfo-Request>{handset.client_id}</GetSPInfo-Request>")
    assert isinstance(answer, GetSPInfoResponse)
    assert answer.name == "Example IM"
    assert answer.description == "For tests"
    assert answer.url == "http://im.example.com/"
    assert answer.client_id is not None
    assert answer.client_id.url == handset.client


def test_what_is_not_configured_is_left_out(node: Node) -> None:
    """An empty description is none."""
    answer = Handset(node).ask("<GetSPInfo-Request/>")
    assert (answer.description, answer.url) == (None, None)


# -- version discovery -----------------------------------------------------------------


@pytest.mark.parametrize(
    "namespace",
    [
        "http://www.openmobilealliance.org/DTD/WV-CSP1.2",
        "http://www.openmobilealliance.org/DTD/IMPS-CSP1.3",
        "http://www.openmobilealliance.org/DTD/IMPS-CSP2.0",
        "http://www.wireless-village.org/CSP1.0",
        "",
    ],
)
@pytest.mark.parametrize("named", ["", "<SessionNSName>urn:x</SessionNSName>"])
def test_versions_are_told_in_any_version(
    node: Node, namespace: str, named: str
) -> None:
    """Whoever asks must get an answer, even in a version that nobody speaks."""
    handset = Handset(node)
    space = f' xmlns="{namespace}"' if namespace else ""
    body = (
        f"<WV-CSP-VersionDiscovery-Request{space}><VersionList>{named}</VersionList>"
        "</WV-CSP-VersionDiscovery-Request>"
    ).encode()
    message = handset.read(result_of(handset.begin(body)))
    assert message is not None
    (transaction,) = message.transactions
    answer = transaction.primitive
    assert isinstance(answer, VersionDiscoveryResponse)
    assert answer.version_list.session_ns_name == (
        "http://www.wireless-village.org/CSP1.1",
        "http://www.openmobilealliance.org/DTD/WV-CSP1.2",
        "http://www.openmobilealliance.org/DTD/IMPS-CSP1.3",
    )
    assert len(node.sessions) == 0


# -- VerifyID --------------------------------------------------------------------------


def verify(*users: str, rest: str = "") -> str:
    """Write VerifyID-Request."""
    named = "".join(f"<UserID>{user}</UserID>" for user in users)
    return f"<VerifyID-Request><IDList>{named}{rest}</IDList></VerifyID-Request>"


@pytest.mark.parametrize("version", [V1_2, V1_3])
def test_addresses_that_are_valid(node: Node, core: Core, version: Version) -> None:
    """A subscriber is known here; of others the core is asked."""
    handset = Handset(node, version=version).open()
    assert handset.code(verify("wv:BOB", "wv:carol@example.com")) == 200
    assert core.of("OPTIONS") == []
    assert handset.code(verify("wv:dave@example.com")) == 200
    (asked,) = core.of("OPTIONS")
    assert asked.uri == "sip:dave@example.com"


@pytest.mark.parametrize(
    ("status", "code"), [(404, 531), (604, 531), (480, 200), (405, 200), (500, 200)]
)
def test_only_a_plain_no_such_user_counts_as_no(
    alice: Handset, core: Core, status: int, code: int
) -> None:
    """Whoever is away, or whose phone knows no OPTIONS, exists."""
    core.script = lambda request: status if request.method == "OPTIONS" else 200
    answer = alice.ask(verify("wv:dave@example.com", "wv:bob"))
    found = answer.result
    assert found.code == (200 if code == 200 else 201)
    if code != 200:
        (detail,) = found.detailed_result
        assert (detail.code, detail.user_id) == (code, ("wv:dave@example.com",))


def test_addresses_by_number(make: Callable[..., Node], core: Core) -> None:
    """A subscriber's number is his address."""
    known = (subscriber("alice"), subscriber("bob", msisdn="+358401234567"))
    handset = Handset(make(subscribers=known)).open()
    assert handset.code(verify("wv:+358401234567")) == 200
    assert core.of("OPTIONS") == []


def test_addresses_of_other_kinds(alice: Handset) -> None:
    """Lists, groups and domains that are not here, by their codes."""
    answer = alice.ask(
        verify(
            "wv:bob",
            "no@",
            rest="<ContactList>wv:alice/l</ContactList><GroupID>wv:/g</GroupID>"
            "<ScreenName><SName>x</SName><GroupID>wv:/g</GroupID></ScreenName>"
            "<Domain>EXAMPLE.com</Domain><Domain>elsewhere.example</Domain>",
        )
    )
    assert answer.result.code == 201
    assert [d.code for d in answer.result.detailed_result] == [901, 700, 800, 800, 516]
    assert answer.result.detailed_result[-1].domain == ("elsewhere.example",)


def test_a_flood_of_addresses_is_refused(alice: Handset, core: Core) -> None:
    """Each could cost a question to the core."""
    assert alice.code(verify(*("wv:x" for _ in range(51)))) == 403
    assert core.of("OPTIONS") == []


def test_a_core_that_does_not_answer(alice: Handset, core: Core, clock: Clock) -> None:
    """503 when the transaction has timed out: nobody knows."""
    core.script = lambda request: None
    body = alice.body(alice.transaction(verify("wv:dave")))
    replies: list[Any] = []
    alice.begin(body).addCallback(replies.append)
    for _ in range(40):
        clock.advance(1)
    message = alice.read(replies[0])
    assert message is not None
    answer: Any = message.transactions[0].primitive
    assert answer.result.code == 503


# -- presence --------------------------------------------------------------------------


def presence(user: str) -> str:
    """Write GetPresence-Request as AOSP does, in 1.3 too."""
    return (
        f"<GetPresence-Request><User><UserID>{user}</UserID></User>"
        "</GetPresence-Request>"
    )


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("user", ["wv:alice", "WV:ALICE@example.com", "alice"])
def test_ones_own_presence_is_always_there(
    node: Node, version: Version, user: str
) -> None:
    """One Presence with a PresenceSubList, under the address that was asked for."""
    handset = Handset(node, version=version).open()
    handset.services()
    answer = handset.ask(presence(user))
    assert isinstance(answer, GetPresenceResponse)
    assert answer.result.code == 200
    (found,) = answer.presence
    assert found.user_id == user
    (sub_list,) = found.presence_sub_list
    assert sub_list.online_status[0].presence_value == "T"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (presence("wv:bob"), 405),
        (
            presence("wv:alice").replace(
                "</User>", "</User><User><UserID>wv:bob</UserID></User>", 1
            ),
            405,
        ),
        ("<GetPresence-Request/>", 405),
        (presence("@"), 901),
    ],
)
def test_others_presence_is_not_offered(
    alice: Handset, content: str, code: int
) -> None:
    """This release does not have it."""
    answer = alice.ask(content)
    assert isinstance(answer, Status)
    assert answer.result.code == code
