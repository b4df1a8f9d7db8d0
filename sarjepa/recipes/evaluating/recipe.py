"""Evaluation recipes: settings that belong together, each of which can be given by itself.

    published   no augmentation, class token, 40 epochs of AdamW, the last epoch: the paper's own recipe, and the only
                one to compare with its numbers
    augmented   for few labels: class token and 4 x 4 grid; frozen, shrinkage LDA on the shots and their mirror images;
                fine-tuned, 1,200 steps on views of the shots that are drawn anew each epoch, a normalised head with a
                rate of its own, dropout and label smoothing

A setting that is not given has the recipe's value. Changed settings are part of the recipe's name in every record
("published, epochs 20"), except for feature, solver, augmentation and number format, which have fields of their own
there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, TypeVar

from sarjepa.config import RECIPES as NAMES
from sarjepa.config import VIEW_AUGMENTATIONS, Evaluation
from sarjepa.errors import InputError
from sarjepa.evaluation.opened import Copy
from sarjepa.evaluation.training import Training

Config = TypeVar("Config", bound=Evaluation)
NUM_COPIES = 4  # of a shot, itself included, where its views are drawn at random

_PUBLISHED: dict[str, Any] = {
    "pool": "cls",
    "precision": "fp32",
    "augment": "none",
    "epochs": 40,
    "batch_size": 50,
    "lr": 1e-3,
    "weight_decay": 5e-4,
}
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "published": {
        "linear-probe": {**_PUBLISHED, "solver": "adamw"},
        "fine-tune": {
            **_PUBLISHED,
            "layer_decay": 1.0,
            "head": "linear",
            "label_smoothing": 0.0,
            "dropout": 0.0,
        },
    },
    "augmented": {
        "linear-probe": {
            **_PUBLISHED,
            "pool": "cls+grid4",
            "solver": "lda",
            "precision": "auto",
            "augment": "mirror",
        },
        "fine-tune": {
            "pool": "cls+grid4",
            "precision": "auto",
            "augment": "shift,mirror",
            "steps": 1200,
            "batch_size": 32,
            "lr": 5e-4,
            "head_lr": 2e-3,
            "weight_decay": 5e-4,
            "layer_decay": 1.0,
            "head": "normalised",
            "label_smoothing": 0.1,
            "dropout": 0.3,
        },
    },
}
assert set(RECIPES) == set(NAMES)
_OF_BOTH = ("epochs", "batch_size", "lr", "weight_decay")
_OF_TUNING = ("steps", "head_lr", "layer_decay", "label_smoothing", "dropout", "head")


def settled(config: Config, protocol: str) -> Config:
    """The config with the recipe's value for every setting of a protocol that was not given.

    Raises:
        InputError: both epochs and steps are given.

    Example:
        >>> settled(Evaluation(epochs=20), "fine-tune").epochs
        20
    """
    own, recipe = vars(config), dict(RECIPES[config.recipe][protocol])
    if config.epochs is not None:
        if own.get("steps") is not None:
            raise InputError("both epochs and steps are given", where="steps", hint="leave one of them out")
        recipe.pop("steps", None)  # given epochs replace the recipe's steps
    missing = {key: value for key, value in recipe.items() if key in own and own[key] is None}
    if config.command == "fewshot-bench":  # takes several, with a row for each
        missing |= {key: (missing[key],) for key in ("pool", "solver", "augment") if key in missing}
    return replace(config, **missing)


def augmentations(text: str) -> tuple[str, ...]:
    """The augmentations that a text names ("none", "mirror,shift"), in the order of `VIEW_AUGMENTATIONS`.

    Example:
        >>> augmentations("shift,mirror")
        ('shift', 'mirror')
    """
    names = text.split(",")
    return tuple(name for name in VIEW_AUGMENTATIONS if name in names)


def copies_of(config: Evaluation, augment: str) -> list[Copy | None]:
    """The copies of a frozen training chip: the chip itself (None) and its views.

    Example:
        >>> copies_of(Evaluation(), "mirror")
        [None, Copy(names=('mirror',), number=1)]
        >>> len(copies_of(Evaluation(), "none")), len(copies_of(Evaluation(), "shift,mirror"))
        (1, 4)
    """
    names = augmentations(augment)
    num = (config.copies or (2 if augment == "mirror" else NUM_COPIES)) if names else 1
    return [None, *(Copy(names, number) for number in range(1, num))]


def recipe_name(config: Evaluation, protocol: str) -> str:
    """The recipe as a record states it: its name and the changed settings.

    Args:
        config: settings as given, before `settled`.
        protocol: protocol of the run.

    Example:
        >>> recipe_name(Evaluation(epochs=20), "linear-probe")
        'published, epochs 20'
        >>> recipe_name(Evaluation(epochs=40), "linear-probe")  # the recipe's own value changes nothing
        'published'
    """
    recipe = RECIPES[config.recipe][protocol]
    keys = {"linear-probe": (*_OF_BOTH, "copies"), "fine-tune": (*_OF_BOTH, *_OF_TUNING)}[protocol]
    given = {key: value for key in keys if (value := getattr(config, key, None)) is not None}
    changed = [f"{key.replace('_', ' ')} {value}" for key, value in given.items() if value != recipe.get(key)]
    return ", ".join([config.recipe, *changed])


def refuse_unread(config: Evaluation, solvers: Collection[str]) -> None:
    """Refuse a typed setting of a training by steps that none of the solvers is.

    Args:
        config: settings of the command.
        solvers: solvers of the call, with fine-tune.

    Raises:
        InputError: a setting was typed that none of them reads.

    Example:
        >>> from sarjepa.config import ProbeConfig
        >>> from sarjepa.overlay import overlay
        >>> refuse_unread(overlay(ProbeConfig, [("the command line", {"epochs": "5"})]), ["lda"])
        Traceback (most recent call last):
        sarjepa.errors.InputError: lda does not read this setting: epochs; got 5; leave it out
    """
    read = {*_OF_BOTH, *_OF_TUNING} if "fine-tune" in solvers else {*_OF_BOTH} if "adamw" in solvers else set()
    for key in (*_OF_BOTH, *_OF_TUNING):
        if key not in read and config.is_typed(key):
            raise InputError(
                f"{', '.join(sorted(solvers))} does not read this setting",
                where=key.replace("_", "-"),
                got=getattr(config, key),
                hint="leave it out",
            )


def training_of(config: Evaluation, protocol: str, augment: str) -> Training:
    """The settings of the training of a protocol.

    Args:
        config: settings, as `settled` returns them.
        protocol: protocol of the run.
        augment: augmentations of the row of the table.

    Example:
        >>> from sarjepa.config import FinetuneConfig
        >>> config = settled(FinetuneConfig(recipe="augmented", lr=1e-4), "fine-tune")
        >>> training = training_of(config, "fine-tune", "mirror")
        >>> training.steps, training.lr, training.normalise, training.augment
        (1200, 0.0001, True, ('mirror',))
    """
    own = vars(config)
    keys = (*_OF_BOTH, *_OF_TUNING) if protocol == "fine-tune" else _OF_BOTH
    given = {key: own[key] for key in keys if own[key] is not None}
    is_normalised = given.pop("head", "") == "normalised"
    return Training(**given, normalise=is_normalised, augment=augmentations(augment))
