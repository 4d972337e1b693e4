"""Which syntax a media type stands for."""

from __future__ import annotations

import pytest

from gateway.csp.envelope import Version
from gateway.csp.namespaces import NAMESPACES, Space, is_ours, version_of
from gateway.csp.syntax import XML, syntax_for
from gateway.errors import UnsupportedMedia


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("application/vnd.wv.csp.xml", None),
        ("application/vnd.wv.csp+xml", None),
        ("Application/VND.WV.CSP+XML ; charset=UTF-8", "UTF-8"),
        ('application/vnd.wv.csp.xml;x=y; Charset="iso-8859-1"', "iso-8859-1"),
        ("application/vnd.wv.csp.xml; charset=", None),
        ('application/vnd.wv.csp.xml; charset=""', None),
        ("application/vnd.wv.csp.xml; mycharset=x", None),
    ],
)
@pytest.mark.requirement("T-11.1-01", "T-11.1-02")
def test_media_types_of_xml(content_type: str, charset: str | None) -> None:
    """Either spelling for any version, in any case."""
    assert syntax_for(content_type) == (XML, charset)


@pytest.mark.parametrize(
    "content_type", ["", "text/xml", "application/vnd.wv.csp", ";"]
)
def test_other_media_types(content_type: str) -> None:
    """None of ours: HTTP 415."""
    with pytest.raises(UnsupportedMedia):
        syntax_for(content_type)


@pytest.mark.requirement("T-11.1-02")
def test_media_type_to_answer_with() -> None:
    """The spelling of the version."""
    types = [XML.content_type(version) for version in Version]
    assert types == ["application/vnd.wv.csp.xml"] * 2 + ["application/vnd.wv.csp+xml"]


def test_namespaces_are_told_apart() -> None:
    """All nine of ours, spellings near them, and others."""
    assert len(set(NAMESPACES.values())) == 9
    for (version, _), name in NAMESPACES.items():
        assert is_ours(name)
        assert version_of(name) == (version, True)
    assert NAMESPACES[Version.V1_3, Space.PRESENCE] == (
        "http://www.openmobilealliance.org/DTD/IMPS-PA1.3"
    )
    assert not is_ours("http://www.openmobilealliance.org/WV-CSP1.2")
    assert version_of("http://www.openmobilealliance.org/wv-csp1.2/") == (
        Version.V1_2,
        True,
    )
    assert version_of("http://www.wireless-village.org/CSP1.0") == (Version.V1_1, False)
    assert version_of("urn:x") == (Version.V1_2, False)
