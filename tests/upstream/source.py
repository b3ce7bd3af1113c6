"""Source distributions of published packages: their tests are in them. Kept under .nox, never committed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".nox" / "sources"


def source_of(package: str, version: str) -> Path:
    """The unpacked source distribution of this version, downloaded from the package index when it is not there yet."""
    place = CACHE / f"{package}-{version}"
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = ("-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package)
            subprocess.run([sys.executable, *command, "--dest", folder, f"{package}=={version}"], check=True)
            (archive,) = Path(folder).glob("*.tar.gz")
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            (unpacked,) = (path for path in Path(folder).iterdir() if path.is_dir())
            unpacked.rename(place)
    return place
