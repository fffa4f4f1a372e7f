"""NeuraLib: a song goes in; stems, notes, words and samples come out, kept in a library."""

__version__ = "0.1.0"
