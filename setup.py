"""Editable installs put two folders on Python's path; setup.cfg says everything else.

Setuptools' own way for packages of two parents is an import hook, which is asked last. Then in the folder around a
clone named ``tinyconv``, and for every script saved there, ``import tinyconv`` finds the clone: an empty namespace.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command import editable_wheel

HERE = Path(__file__).resolve().parent


class EditableByPath(editable_wheel.editable_wheel):
    """``pip install -e``: a .pth file with the folder of each package."""

    def _select_strategy(self, name, tag, build_lib):
        # Both names are setuptools' private ones: without them there is only its own way.
        if not hasattr(editable_wheel, "_StaticPth"):
            return super()._select_strategy(name, tag, build_lib)
        return editable_wheel._StaticPth(self.distribution, name, [HERE, HERE / "kernels"])


setup(cmdclass={"editable_wheel": EditableByPath})
