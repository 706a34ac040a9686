"""Extensions found by their file names: a file's name is its recipe name, and nothing lists them.

Listing reads a folder and imports nothing, so that ``ftune --help`` and completion stay quick.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ftune.errors import RecipeError

ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Family:
    """One kind of extension: the modules of ``package``, called ``noun`` in messages."""

    noun: str
    package: str

    @property
    def folder(self) -> Path:
        """The folder that holds one file per extension."""
        return ROOT.joinpath(*self.package.split(".")[1:])

    def names(self) -> tuple[str, ...]:
        """Recipe names of all extensions, sorted."""
        files = self.folder.glob("*.py")
        return tuple(sorted(f.stem for f in files if not f.stem.startswith("_")))

    def load(self, name: str) -> ModuleType:
        """The module of extension ``name``.

        Raises:
            RecipeError: there is no such extension; the message lists what there is.
        """
        if name not in self.names():
            raise RecipeError(self.unknown(name))
        return importlib.import_module(f"{self.package}.{name}")

    def unknown(self, name: str) -> str:
        """What to say of a name that isn't there: the nearest one, and all of them."""
        near = difflib.get_close_matches(name, self.names(), n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}? " if near else ""
        article = "an" if self.noun[0] in "aeiou" else "a"
        return f"{name!r} is not {article} {self.noun}; {hint}there are: {', '.join(self.names())}"

    def help(self, name: str) -> str:
        """The first line of the extension's docstring, read without importing it."""
        tree = ast.parse((self.folder / f"{name}.py").read_text(encoding="utf-8"))
        return (ast.get_docstring(tree) or "").partition("\n")[0]


METHODS = Family("tuning method", "ftune.model.tuning")
FORMATS = Family("row format", "ftune.data.formats")
OBJECTIVES = Family("objective", "ftune.train.objectives")
METRICS = Family("metric", "ftune.evaluate.metrics")
# What an objective needs elsewhere than in training has its file there, by the objective's name.
ENCODINGS = Family("objective with labels", "ftune.data.encodings")
ANSWERS = Family("objective with labels", "ftune.evaluate.answers")
KINDS = Family("kind of model", "ftune.model.kinds")
ENGINES = Family("launch engine", "ftune.launch.engines")


def template_names() -> tuple[str, ...]:
    """Names of the templates that ship with ftune, and ``tokenizer``, sorted."""
    files = (ROOT / "data" / "templates").glob("*.yaml")
    return tuple(sorted([f.stem for f in files] + ["tokenizer"]))
