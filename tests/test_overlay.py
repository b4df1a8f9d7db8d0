"""Settings: one source of truth, four layers, errors that name key and place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sarjepa.config import COMMANDS, PretrainConfig, as_dict, parse_crop
from sarjepa.errors import InputError
from sarjepa.overlay import overlay, preset_names, read_preset, read_settings_file, settings_of


def test_later_layers_lie_on_top() -> None:
    layers = [("preset", {"lr": 1.0, "epochs": 30}), ("file", {"lr": "2e-3"}), ("line", {"lr": "3e-4"})]
    config = overlay(PretrainConfig, layers)
    assert (config.lr, config.epochs, config.batch_size) == (3e-4, 30, 300)


def test_yaml_numbers_that_arrive_as_text_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("lr: 1e-3\nradii: [2, 4]\nclip-grad: 3\n")
    config = overlay(PretrainConfig, [("file", read_settings_file(file, "pretrain"))])
    assert config.lr == 1e-3
    assert config.radii == (2, 4)
    assert isinstance(config.clip_grad, float)


def test_every_setting_survives_being_stored_and_read_again() -> None:
    for config_class in COMMANDS.values():
        config = config_class()
        assert overlay(config_class, [("stored", as_dict(config))]) == config


def test_every_preset_is_valid_for_every_command_it_speaks_of() -> None:
    assert {"demo", "laptop", "paper", "released"} <= set(preset_names())
    for name in preset_names():
        for command, config_class in COMMANDS.items():
            overlay(config_class, [(name, read_preset(name, command))])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"batchsize": 3}, ["'batchsize'", "file.yaml", "'batch-size'"]),
        ({"batch-size": "many"}, ["batch-size", "file.yaml", "whole number", "'many'"]),
        ({"batch-size": 1.5}, ["batch-size", "whole number"]),
        ({"batch-size": 0}, ["batch-size", "at least 1", "got 0"]),
        ({"resume": "yes"}, ["resume", "true or false"]),
        ({"epochs": True}, ["epochs", "file.yaml"]),
        ({"crop-scale": [0.9, 0.2]}, ["crop-scale"]),
        ({"method": "sarjepa"}, ["'sarjepa'", "'sar-jepa'"]),
        ({"warmup-epochs": 500}, ["warmup-epochs", "0 to 200"]),
        ({"epochs": None}, ["epochs", "file.yaml"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(layer: dict, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        overlay(PretrainConfig, [("file.yaml", layer)])
    for word in words:
        assert word in str(error.value)


def test_a_file_may_hold_sections_for_several_commands(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text("pretrain: {epochs: 3}\nprobe: {dataset: saracd}\n")
    assert read_settings_file(file, "pretrain") == {"epochs": 3}
    assert read_settings_file(file, "finetune") == {}
    file.write_text("pretrain: {epochs: 3}\nprob: {dataset: saracd}\n")
    with pytest.raises(InputError, match="'probe'"):
        read_settings_file(file, "pretrain")


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n"])
def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        read_settings_file(file, "pretrain")


def test_every_setting_has_help() -> None:
    for config_class in COMMANDS.values():
        for setting in settings_of(config_class):
            assert len(setting.help) > 3, setting.key


def test_crops_can_be_given_for_one_source_alone() -> None:
    assert parse_crop("mstar=64,saracd=none", "mstar") == 64
    assert parse_crop("mstar=64,saracd=none", "saracd") == "none"
    assert parse_crop("mstar=64", "fusarship") == "published"
    assert parse_crop("96", "fusarship") == 96
    with pytest.raises(InputError, match="no such crop"):
        parse_crop("mstar=wide", "mstar")
