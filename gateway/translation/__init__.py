"""CSP ⇄ SIP: pure functions, tested by value."""
