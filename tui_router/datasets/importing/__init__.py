"""Reads requests from other programs' files: which kind of file it is follows from the content, never from the name."""
