"""NeuraLib: a song goes in; stems, notes, words and samples come out, kept in a library."""
