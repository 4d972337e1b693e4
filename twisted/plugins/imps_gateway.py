"""The ``twistd imps-gateway`` command; named as a string, so that help stays quick."""

from twisted.application.service import ServiceMaker

imps_gateway = ServiceMaker(
    "IMPS gateway",
    "gateway.tap",
    "IMPS (Wireless Village) handsets to a SIP/SIMPLE core",
    "imps-gateway",
)
