"""One file that a spec names, as a file that can be opened: a compressed or remote one is copied first."""

from __future__ import annotations

from vltr_eval.formats.sources import Source, Spec, expand_one


def local_file(path: Spec) -> Source:
    """Return the one file that a spec names, or its local copy where it is compressed or remote.

    Raises:
        InputError: Several files match, or none, or the file cannot be copied.
    """
    source = expand_one(path)
    if source.needs_copy:
        from vltr_eval.formats.copies import make_copy  # not above: few files are compressed or remote

        source = make_copy(source)
    return source
