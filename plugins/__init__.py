"""Transport bindings: bytes in, bytes out; they decide nothing.

Each module ends with an instance that provides ``IBinding``; ``twisted.plugin`` finds
it here, and a ``[[binding]]`` table names it by its ``type``.
"""

__all__: list[str] = []
