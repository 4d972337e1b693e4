"""The IMPS gateway: CSP handsets on one side, a SIP/SIMPLE core on the other."""

__version__ = "0.1.0"
