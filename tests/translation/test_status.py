"""Every row of the status map that a MESSAGE, a REGISTER or any request can meet."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from gateway.csp.envelope import Version
from gateway.translation.status import to_csp, to_sip

ROWS = list(
    csv.DictReader(
        files("gateway.data").joinpath("status-map.csv").read_text("utf-8").splitlines()
    )
)


def applies(row) -> bool:
    context = row["context"]
    return context.startswith("any") or "MESSAGE" in context.replace(
        "large message", ""
    )


def single(text: str) -> bool:
    return text.isdigit()


TO_CSP = [
    (int(row["sip_or_msrp_or_imdn"]), int(row["csp"]), "several" in row["context"])
    for row in ROWS
    if row["direction"] == "SIP->IMPS"
    and applies(row)
    and single(row["sip_or_msrp_or_imdn"])
    and single(row["csp"])
]
TO_SIP = [
    (int(row["csp"]), int(row["sip_or_msrp_or_imdn"]))
    for row in ROWS
    if row["direction"] == "IMPS->SIP"
    and applies(row)
    and single(row["sip_or_msrp_or_imdn"])
    and single(row["csp"])
]
GO_ON = {301, 302, 412}
"""Rows that say what the gateway does next; that it was not done is a failure."""
METHOD_FIRST = {403: 532}


@pytest.mark.parametrize(("sip", "csp", "several"), TO_CSP)
def test_a_sip_answer_to_a_message(sip, csp, several):
    if sip in GO_ON:
        csp = 410
    elif not several:
        csp = METHOD_FIRST.get(sip, csp)
    assert to_csp(sip, "MESSAGE", Version.V1_3, several=several) == csp


@pytest.mark.parametrize(("csp", "sip"), TO_SIP)
def test_a_csp_code_that_ends_a_sip_request(csp, sip):
    assert to_sip(csp, "MESSAGE") == sip


def test_the_tables_were_not_empty():
    assert len(TO_CSP) > 35 and len(TO_SIP) > 25


@pytest.mark.parametrize("status", range(300, 700))
def test_no_failure_becomes_a_success(status):
    for method in ("MESSAGE", "REGISTER", "OPTIONS"):
        for several in (False, True):
            assert to_csp(status, method, several=several) >= 400


@pytest.mark.parametrize("status", range(200, 300))
def test_no_success_becomes_a_failure(status):
    assert to_csp(status, "MESSAGE", Version.V1_2) == 200
    assert to_csp(status, "MESSAGE", Version.V1_3) in (200, 202)


def test_stored_is_told_from_1_3_on():
    assert to_csp(202, "MESSAGE", Version.V1_1) == 200
    assert to_csp(202, "MESSAGE", Version.V1_2) == 200
    assert to_csp(202, "MESSAGE", Version.V1_3) == 202


def test_an_unknown_status_is_the_first_of_its_class():
    assert to_csp(499, "MESSAGE") == to_csp(400, "MESSAGE") == 400
    assert to_csp(599, "MESSAGE") == 500
    assert to_csp(699, "MESSAGE") == to_csp(600, "MESSAGE") == 538
    assert to_sip(999, "MESSAGE") == 500


def test_a_single_recipient_that_is_away_is_told_from_one_of_several():
    assert to_csp(408, "MESSAGE") == 504
    assert to_csp(408, "MESSAGE", several=True) == 410
