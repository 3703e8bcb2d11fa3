"""`alphaloop features repo` writes the folder for Feast's own command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.commands.features import app


def test_the_folder_is_named_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default it lies beside the store of the settings; another place can be given."""
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    for options, expected in (
        ([], tmp_path / "home/feast/repo"),
        (["--folder", str(tmp_path / "x")], tmp_path / "x"),
    ):
        ran = CliRunner().invoke(app, ["repo", "--json", *options], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        assert Path(json.loads(ran.stdout)["folder"]) == expected
        assert (expected / "feature_store.yaml").is_file()
