"""Phrasings of the tasks' instructions: what a language-conditioned policy learns from, and what it is tested with.

A file of `configs/instructions` belongs to one template. It says how the task itself asks (`asked`), with names in
braces for what differs from episode to episode, and how people may say the same: in `training` what a policy may learn
from, in `held_out` what it must never have seen.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from training_ground.configs.errors import ConfigError, short, unknown
from training_ground.configs.loading import StrictModel, load_yaml, validate
from training_ground.configs.presets import ROOT

FOLDER = ROOT / "instructions"
Split = Literal["training", "held_out"]
SPLITS: tuple[Split, ...] = ("training", "held_out")
NUMBER = "number"

Text = Annotated[str, Field(min_length=1, max_length=200)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1, max_length=100)]


class Wordings(StrictModel):
    """What one value of a slot may be called."""

    training: Texts
    held_out: Texts


class InstructionFile(StrictModel):
    """`configs/instructions/<name>.yaml`: one template's phrasings."""

    template: str
    """Task, such as `PressButton`."""
    asked: Text
    """What the task itself says; names in braces stand for what differs from episode to episode."""
    slots: dict[str, Literal["number"] | dict[str, Wordings]] = Field(default_factory=dict)
    """What a name in braces can be: a whole `number`, which stays as it is, or texts, each with other words for it."""
    training: Texts
    held_out: Texts

    @model_validator(mode="after")
    def _checked(self) -> InstructionFile:
        for phrase in (self.asked, *self.training, *self.held_out):
            if _names(phrase) != set(self.slots):
                raise ValueError(f"phrase '{phrase}': must hold each of the slots {sorted(self.slots)}, and no other")
        for name, values in self.slots.items():
            for value, wordings in values.items() if isinstance(values, Mapping) else ():
                both = {plain(text) for text in wordings.training} & {plain(text) for text in wordings.held_out}
                if both:
                    raise ValueError(f"slots.{name}.{value}: '{min(both)}' stands in training and in held_out")
        return self

    def values(self, instruction: str) -> dict[str, str]:
        """Return what an episode's instruction says for each slot.

        Raises:
            ConfigError: It is not how this task asks.
        """
        found = self._pattern.fullmatch(instruction)
        if found is None:
            raise ConfigError(f"instruction {short(instruction)}: task '{self.template}' asks '{self.asked}'")
        values = found.groupdict()
        for name, allowed in self.slots.items():
            if isinstance(allowed, Mapping) and values[name] not in allowed:
                raise ConfigError(unknown(f"{name} in the instruction of '{self.template}'", values[name], allowed))
        return values

    def phrases(self, instruction: str, split: Split) -> tuple[str, ...]:
        """Return every way to say an episode's instruction that a split has.

        Raises:
            ConfigError: It is not how this task asks.
        """
        values = self.values(instruction)
        choices = [self._wordings(name, value, split) for name, value in values.items()]
        said = [dict(zip(values, words, strict=True)) for words in itertools.product(*choices)]
        return tuple(phrase.format_map(words) for phrase in getattr(self, split) for words in said)

    def draw(self, instruction: str, split: Split, generator: np.random.Generator) -> str:
        """Draw one of `phrases`.

        Raises:
            ConfigError: The instruction is not how this task asks.
        """
        phrases = self.phrases(instruction, split)
        return phrases[int(generator.integers(len(phrases)))]

    def examples(self) -> tuple[str, ...]:
        """Instructions as the task gives them: one for each choice of texts, numbers as 45."""
        kinds = [["45"] if values == NUMBER else list(values) for values in self.slots.values()]
        return tuple(
            self.asked.format_map(dict(zip(self.slots, chosen, strict=True))) for chosen in itertools.product(*kinds)
        )

    def _wordings(self, name: str, value: str, split: Split) -> tuple[str, ...]:
        allowed = self.slots[name]
        return getattr(allowed[value], split) if isinstance(allowed, Mapping) else (value,)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Matches what the task says, a group for each slot."""
        parts = []
        for text, name, _, _ in string.Formatter().parse(self.asked):
            group = r"-?\d{1,6}" if self.slots.get(name or "") == NUMBER else ".{1,200}?"
            parts.append(re.escape(text) + (f"(?P<{name}>{group})" if name else ""))
        return re.compile("".join(parts))


def instruction_files(folder: Path = FOLDER) -> dict[str, InstructionFile]:
    """Read every file, by template, sorted.

    Raises:
        ConfigError: A file does not follow the schema; a template has two; a phrase stands in two splits or belongs to
            two tasks, letters and punctuation apart.
    """
    files: dict[str, InstructionFile] = {}
    owners: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        file = validate(InstructionFile, load_yaml(path), str(path))
        if file.template in files:
            raise ConfigError(f"{path}: template '{file.template}' has another file already")
        for split in SPLITS:
            own = {plain(p) for example in file.examples() for p in file.phrases(example, split)}
            for phrase in own:
                where = owners.setdefault(phrase, f"{file.template} ({split})")
                if where != f"{file.template} ({split})":
                    raise ConfigError(f"{path}: '{phrase}' belongs to {where} already")
        files[file.template] = file
    return files


def instructions_of(template: str, files: Mapping[str, InstructionFile]) -> InstructionFile:
    """Return a template's phrasings.

    Raises:
        ConfigError: There are none; the nearest name is offered.
    """
    if template not in files:
        raise ConfigError(unknown("template with phrasings", template, files))
    return files[template]


def plain(text: str) -> str:
    """Return a text as it is compared: small letters, words alone."""
    return " ".join(re.findall(r"[\w°]+", text.casefold()))


def _names(phrase: str) -> set[str]:
    """Names in braces; a format or an attribute behind one is refused, for phrases are data."""
    try:
        parts = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(phrase)]
    except ValueError as problem:
        raise ValueError(f"phrase '{phrase}': {problem}") from None
    for name, spec, conversion in parts:
        if name is not None and (not name.isidentifier() or spec or conversion):
            raise ValueError(f"phrase '{phrase}': '{{{name}}}' must be a plain name in braces")
    return {name for name, _, _ in parts if name is not None}
