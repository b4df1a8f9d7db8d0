"""Settings: one source of truth, four layers, errors that name key and place."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import pytest

from sarjepa.config import COMMANDS, FewshotBenchConfig, PretrainConfig, as_dict
from sarjepa.data.crops import parse_crop
from sarjepa.errors import InputError
from sarjepa.overlay import overlay, preset_names, read_preset, read_settings_file
from sarjepa.setting import COMMAND_LINE, Range, settings_of


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
        ({"batch-size": 0}, ["batch-size in file.yaml", "1 to 1000000", "got 0"]),
        ({"resume": "yes"}, ["resume", "true or false"]),
        ({"epochs": True}, ["epochs", "file.yaml"]),
        ({"crop-scale": [0.9, 0.2]}, ["crop-scale"]),
        ({"method": "sarjepa"}, ["'sarjepa'", "'sar-jepa'"]),
        ({"warmup-epochs": 500}, ["warmup-epochs", "0 to 200"]),
        ({"epochs": None}, ["epochs", "file.yaml"]),
        ({"sources": []}, ["empty setting", "sources", "file.yaml"]),
        ({"crop-scale": " ,"}, ["empty setting", "crop-scale"]),
        ({"epochs": float("inf")}, ["epochs", "whole number", "inf"]),
        ({"lr": float("nan")}, ["lr", "finite number", "nan"]),
        ({"lr": 10**400}, ["lr", "finite number"]),
        ({"lr": {"peak": 1e-3}}, ["lr", "finite number", "'peak'"]),
        ({"sources": {"mstar": 1}}, ["sources", "text", "'mstar'"]),
        ({"sources": ["mstar", None]}, ["sources", "text", "None"]),
        ({"radii": datetime.date(2024, 1, 31)}, ["radii", "whole number", "2024"]),
        ({"batch-size": 8, "batch_size": 16}, ["given twice", "'batch_size'", "file.yaml"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(layer: dict, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        overlay(PretrainConfig, [("file.yaml", layer)])
    for word in words:
        assert word in str(error.value)


def test_a_name_that_is_repeated_counts_once_and_a_number_as_often_as_it_stands() -> None:
    layer = {"sources": "saracd, mstar,saracd, ", "crop-scale": [1, 1], "radii": "5,5"}
    config = overlay(PretrainConfig, [("line", layer)])
    assert (config.sources, config.crop_scale, config.radii) == (("saracd", "mstar"), (1.0, 1.0), (5, 5))
    bench = overlay(
        FewshotBenchConfig, [("line", {"checkpoint": ["pixels", "pixels"], "protocols": "linear-probe,linear-probe"})]
    )
    assert (bench.checkpoint, bench.protocols) == (("pixels",), ("linear-probe",))


def test_a_name_that_yaml_takes_for_a_date_or_a_number_stays_a_name(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("run-dir: 2024-01-31\nsources: [2024, 2024-02-01]\n")
    config = overlay(PretrainConfig, [("file", read_settings_file(file, "pretrain"))])
    assert (config.run_dir, config.sources) == ("2024-01-31", ("2024", "2024-02-01"))


def test_a_tilde_in_front_of_a_path_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = overlay(
        COMMANDS["fewshot-bench"],
        [
            (
                "a file",
                {"data-root": "~/data", "checkpoint": ["~/runs/a", "hf-hub:o/n~x"], "label-set": "~", "out": "a/~"},
            )
        ],
    )
    assert (config.data_root, config.checkpoint) == ("/home/me/data", ("/home/me/runs/a", "hf-hub:o/n~x"))
    assert (config.label_set, config.out) == ("~", "a/~")


def test_a_file_may_hold_sections_for_several_commands(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text("pretrain: {epochs: 3}\nprobe: {dataset: saracd}\n")
    assert read_settings_file(file, "pretrain") == {"epochs": 3}
    assert read_settings_file(file, "finetune") == {}
    file.write_text("pretrain: {epochs: 3}\nprob: {dataset: saracd}\n")
    with pytest.raises(InputError, match="'probe'"):
        read_settings_file(file, "pretrain")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- a\n- b\n", "not a mapping"),
        (b"0\n", "not a mapping"),
        (b"a: [1\n", "not readable"),
        (b"run-dir: caf\xe9\n", "not readable"),
        (b"run-dir: 2024-13-45\n", "not readable"),
        (b"lr: 1e-3\nepochs: 2\nlr: 1e-4\n", "'lr' stands twice"),
        (b"pretrain: {lr: 1e-3, lr: 1e-4}\n", "'lr' stands twice"),
        (b"pretrain: [epochs]\n", "not a mapping.*pretrain"),
        (b"pretrain: {epochs: 3}\n1: 2\nprob: 3\n", "no such command"),
        (b"[" * 5000, "not readable"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line_by_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        read_settings_file(file, "pretrain")
    assert "bad.yaml" in str(error.value) and "\n" not in str(error.value)


def test_an_empty_file_or_section_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    for text in ("", "# nothing yet\n", "pretrain:\nprobe: {pool: mean}\n"):
        file.write_text(text)
        assert read_settings_file(file, "pretrain") == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_text_of_nothing_is_refused_in_every_setting_of_every_command(command: str) -> None:
    for setting in settings_of(COMMANDS[command]):
        if setting.kind is not str:
            continue
        for nothing in ("", " ", [""]) if setting.is_list else ("", " "):
            with pytest.raises(InputError, match=f"empty setting: --{setting.name}"):
                overlay(COMMANDS[command], [(COMMAND_LINE, {setting.key: nothing})])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_number_has_a_range_that_its_default_lies_in_and_an_absurd_one_does_not(command: str) -> None:
    for setting in settings_of(COMMANDS[command]):
        if setting.kind in (int, float):
            assert any(isinstance(mark, Range) for mark in setting.marks), setting.key
            if setting.kind is int:
                absurd = [10**21] * len(setting.default or (0, 0)) if setting.is_list else 10**21
                with pytest.raises(InputError, match="value out of range"):
                    overlay(COMMANDS[command], [(COMMAND_LINE, {setting.key: absurd})])


def test_a_config_knows_which_layer_gave_what() -> None:
    config = overlay(PretrainConfig, [("preset demo", {"lr": 1.0, "epochs": 30}), (COMMAND_LINE, {"lr": "2e-3"})])
    assert config.origins == {"lr": COMMAND_LINE, "epochs": "preset demo"}
    assert dataclasses.replace(config, epochs=3).origins == config.origins
    assert config == PretrainConfig(lr=2e-3, epochs=30) and not PretrainConfig().origins
    assert "origins" not in as_dict(config) and "origins" not in {one.key for one in settings_of(PretrainConfig)}


def test_a_folder_in_place_of_a_settings_file_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder, not a settings file"):
        read_settings_file(tmp_path, "pretrain")


def test_every_setting_has_help() -> None:
    for config_class in COMMANDS.values():
        for setting in settings_of(config_class):
            assert len(setting.help) > 3, setting.key


def test_crops_can_be_given_for_one_source_alone() -> None:
    assert parse_crop("mstar=64,saracd=none", "mstar") == 64
    assert parse_crop("mstar=64,saracd=none", "saracd") == "none"
    assert parse_crop("mstar=64", "fusarship") == "published"
    assert parse_crop("96", "fusarship") == 96


@pytest.mark.parametrize("text", ["mstar=wide", "saracd=wide", "mstar=0", "mstar=²", "mstar=", "", "-8"])
def test_a_crop_of_another_form_is_refused_whichever_source_it_is_for(text: str) -> None:
    with pytest.raises(InputError, match="no such crop"):
        parse_crop(text, "mstar")


def test_a_crop_for_a_source_that_is_not_known_names_the_nearest() -> None:
    assert parse_crop("mstar=64", "saracd", {"mstar", "saracd"}) == "published"
    with pytest.raises(InputError, match=r"no such source: 'mstra'.*did you mean 'mstar'"):
        parse_crop("saracd=none,mstra=64", "saracd", {"mstar", "saracd"})
