"""What ``/xml`` and ``/sip`` show: documents made readable, their secrets masked."""

from __future__ import annotations

import re
from typing import Final

from lxml import etree

MASK: Final = "••••"
_CSP_SECRET: Final = re.compile(
    r"(<(?:[\w.-]+:)?(?P<name>Password|DigestBytes)\b(?:[^>]*[^>/])?>)"
    r".*?(</(?:[\w.-]+:)?(?P=name)\s*>|\Z)",
    re.DOTALL,
)
_SIP_SECRET: Final = re.compile(
    r"^((?:Proxy-)?Authorization\s*:.*?\bresponse\s*=\s*)(?:\"[^\"]*\"|[^\s,]+)",
    re.IGNORECASE | re.MULTILINE,
)


def csp_document(body: bytes) -> str:
    """Write a CSP document with one element a line; what is no XML, as it came.

    The content of Password and DigestBytes is masked.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        text = body.decode("utf-8", "replace")
    else:
        etree.indent(root)
        text = etree.tostring(root, encoding="unicode")
    return _CSP_SECRET.sub(rf"\g<1>{MASK}\g<3>", text)


def sip_document(data: bytes) -> str:
    """Write a SIP message; the response of its Digest credentials is masked."""
    text = data.decode("utf-8", "replace").rstrip()
    return _SIP_SECRET.sub(rf'\g<1>"{MASK}"', text)
