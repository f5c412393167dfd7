"""Puts the files of onnxruntime-web that a page needs into the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = (
    "ort.wasm.min.mjs",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)


class Fetch(BuildHookInterface):
    """Runs before the wheel is made."""

    def initialize(self, version: str, build_data: dict) -> None:
        """Copy the files to where the wheel takes them from."""
        del version, build_data
        place = Path(self.root, "src", "xplain_web", "dist")
        place.mkdir(exist_ok=True)
        given = os.environ.get("XPLAIN_WEB_DIST")
        if given:
            self._take(Path(given), place)
            return
        with tempfile.TemporaryDirectory() as folder:
            wanted = f"onnxruntime-web@{self.metadata.version}"
            told = subprocess.run(["npm", "pack", "--silent", wanted], cwd=folder, check=True, capture_output=True)
            with tarfile.open(Path(folder, told.stdout.decode().split()[-1])) as archive:
                archive.extractall(folder, filter="data")
            self._take(Path(folder, "package", "dist"), place)

    def _take(self, source: Path, place: Path) -> None:
        for name in FILES:
            shutil.copyfile(source / name, place / name)
