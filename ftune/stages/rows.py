"""The rows of a split, wherever they come from: sources of its own, or a held-out share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ftune.recipe.view import View
from ftune.run.stage import Place

if TYPE_CHECKING:
    from ftune.data.collect import Taken
    from ftune.data.ledger import Ledger

SPLITS = ("train", "eval", "test")


def sources_of(recipe: View, split: str) -> Sequence[Any]:
    """The sources that a split is read from: the training ones where it is a share of them."""
    own = getattr(recipe.data, split)
    return recipe.data.train if _is_share(own) else own


def shares(recipe: View) -> dict[str, float]:
    """The shares of the training rows that are held out, by split."""
    return {
        split: own for split in ("eval", "test") if _is_share(own := getattr(recipe.data, split))
    }


def _is_share(own: Any) -> bool:
    return isinstance(own, float)


def ledger_of(recipe: View, split: str) -> Ledger:
    """An empty ledger for a split."""
    from ftune.data.ledger import Ledger

    return Ledger([source.path for source in sources_of(recipe, split)])


def rows_of(recipe: View, split: str, place: Place, ledger: Ledger) -> Iterator[Taken]:
    """The examples of a split; rows of the training sources that belong elsewhere are counted.

    Raises:
        DataError: a source can't be read, or a row is bad and the recipe says to stop.
    """
    from ftune.data.collect import examples, once, side
    from ftune.data.few_shot import shown

    held = shares(recipe)
    seed = recipe.train.seed
    own = split != "train" and split not in held
    # The weights of a mixture are no draw of rows.
    weighted = own or recipe.data.mixture is None
    policy = recipe.data.on_bad_row
    sources = sources_of(recipe, split)
    found = examples(sources, place.folder, policy, ledger, seed, weighted)
    if own:
        yield from shown(found, sources, place.folder, seed)
        return

    def belongs(example: Any) -> str:
        return side(example, seed, held.get("eval", 0.0), held.get("test", 0.0))

    def of_split() -> Iterator[Taken]:
        for one in found:
            if belongs(one.example) == split:
                yield one if split == "train" else once(one)
            else:
                ledger[one.source].held_out += 1

    def trains(example: Any) -> bool:
        return belongs(example) == "train"

    yield from shown(of_split(), sources, place.folder, seed, trains)


def identity_of(recipe: View, splits: Sequence[str], place: Place) -> dict[str, Any]:
    """What the data of some splits stands for: sha256 or commit of each source, and the shares."""
    from ftune.data.forming import identity

    streamed = {s: s == "train" and recipe.data.streaming is not None for s in splits}
    sources = {
        s: [identity(x, place.folder, streamed[s]) for x in sources_of(recipe, s)] for s in splits
    }
    return {"sources": sources, "shares": shares(recipe)}
