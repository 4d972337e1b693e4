"""Decisions: what a request means and what is promised. No socket, no wire bytes."""
