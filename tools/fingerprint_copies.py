"""Compute the fingerprints of copied functions from the public files that vltr_eval.patching.known cites.

    python tools/fingerprint_copies.py CLONES                        exit status 1 if the table differs from the files
    python tools/fingerprint_copies.py CLONES OWNER/NAME COMMIT PATH FUNCTION [HELPER...]      prints one fingerprint

CLONES is a folder with clones of the repositories (`git clone`, `git clone --bare` or `--mirror`), each under
OWNER/NAME or OWNER+NAME. A fingerprint is the sha256 of the syntax tree of the function and of its helpers, in order:
docstrings, comments and formatting do not count, and nothing of the code itself is stored. `fingerprint` in
vltr_eval/patching/fingerprints.py is the definition.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vltr_eval.patching.fingerprints import definitions_of, fingerprint
from vltr_eval.patching.known import LIBRARIES


def text_of(clones: Path, repository: str, commit: str, path: str) -> str:
    """Return a file of a clone at a commit."""
    folder = next(
        (found for name in (repository, repository.replace("/", "+")) if (found := clones / name).is_dir()), None
    )
    if folder is None:
        raise SystemExit(f"{clones}: expected a clone of {repository}, found none")
    folders = (folder, folder / "repo", folder / ".git", folder / "repo" / ".git")
    git = next(one for one in folders if (one / "HEAD").is_file())
    command = ["git", f"--git-dir={git}", "show", f"{commit}:{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout


def compute(clones: Path, repository: str, commit: str, path: str, names: tuple[str, ...]) -> str:
    """Return the fingerprint of the named functions of a file."""
    found = fingerprint(definitions_of(text_of(clones, repository, commit, path)), names)
    if found is None:
        raise SystemExit(f"{repository} {path}: expected definitions of {', '.join(names)}")
    return found


def main(arguments: list[str]) -> int:
    """Print fingerprints, or compare the whole table."""
    clones = Path(arguments[0])
    if len(arguments) > 1:
        sys.stdout.write(compute(clones, *arguments[1:4], names=tuple(arguments[4:])) + "\n")
        return 0
    wrong = 0
    for library in LIBRARIES:
        for known in library.functions:
            for source in known.sources:
                found = compute(clones, source.repository, source.commit, source.path, (known.name, *known.helpers))
                wrong += found != source.fingerprint
                verdict = "same" if found == source.fingerprint else f"DIFFERS: {found}"
                sys.stdout.write(f"{library.name} {known.name} {source.repository} {source.path}: {verdict}\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
