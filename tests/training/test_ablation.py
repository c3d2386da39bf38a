"""A plan of tiny trainings, its table, and what is kept between two calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import ablation
from training.ablation import ablate
from training.data.prepare import prepare
from training.options import parse_arguments

RECIPES = Path(ablation.__file__).parent / "recipes"
PLAN = """
seeds: [1, 2]
common: >
  --network.encoder timm/test_efficientnet --network.encoder_weights none
  --network.image_size 64 --network.encoded_size 0 --network.attention_size 8
  --network.embedding_size 8 --network.hidden_size 8 --minimum_count 1 --device cpu
  --decoder.epochs 1
variants:
  as it is:
  "smoothed, less": --label_smoothing 0.1
"""


@pytest.fixture
def plan(tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))  # METEOR takes seconds
    prepare(dataset, tmp_path / "data", 64)
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


@pytest.mark.slow
def test_every_variant_is_trained_once_with_every_seed(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    table = ablate(plan, tmp_path / "data", out)
    header, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
    )
    assert [row[0] for row in rows] == ["as it is", "smoothed, less"]
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        assert "±" in cells["CIDEr"]
        assert cells["METEOR"] == "-"
        assert float(cells["different words"]) > 0
    weights = {path.read_bytes() for path in out.glob("*/*/checkpoint/model.safetensors")}
    assert len(weights) == 4  # no training was another's

    monkeypatch.setattr(ablation, "train", lambda *a, **k: pytest.fail("trained again"))
    assert ablate(plan, tmp_path / "data", out) == table
    (out / "smoothed-less" / "2" / ablation.FIGURES).unlink()
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        ablate(plan, tmp_path / "data", out)


@pytest.mark.slow
def test_figures_of_other_options_are_not_shown(plan: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    plan.write_text(PLAN.replace("[1, 2]", "[1]"))
    ablate(plan, data, out)
    plan.write_text(plan.read_text().replace("label_smoothing 0.1", "label_smoothing 0.2"))
    with pytest.raises(
        ValueError, match=r"smoothed-less/1/figures\.json is of other data or other"
    ):
        ablate(plan, data, out)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is no plan"),
        ("seeds: [1]", "is no plan"),
        ("{seeds: [x], variants: {a: }}", "is no plan"),
        ("{seeds: [], variants: {a: }}", "lists no seed"),
        ("{seeds: [1], variants: {a: --no_such_option 1}}", "no_such_option"),
    ],
)
def test_a_plan_that_will_not_do_trains_nothing(
    plan: Path, text: str, message: str, tmp_path: Path
) -> None:
    plan.write_text(text)
    with pytest.raises(ValueError, match=message):
        ablate(plan, tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stage", ["decoder", "fine-tune", "self-critical"])
def test_the_plans_in_the_recipes_can_be_run(stage: str, tmp_path: Path) -> None:
    seeds, variants = ablation._read(RECIPES / f"ablations-{stage}.yaml")
    assert len(seeds) == 3
    for options in variants.values():
        config = parse_arguments(
            [*options, "--data", str(tmp_path), "--out", str(tmp_path / "out")]
        ).config
        assert [name for name, options in config.stages.items() if options.epochs] == [stage]
