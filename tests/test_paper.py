"""The paper's run with everything real but the weights, which need a download."""

from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from xling.commands.train import train

SHARED = Path("../shared")


@pytest.mark.slow
def test_the_papers_data_and_model_paths_run(tmp_path):
    if not (SHARED / "models" / "mbert_tokenizer").is_dir():
        pytest.skip("mBERT's tokenizer and XNLI are not beside the project (../shared)")
    overrides = [
        "experiment=paper",
        f"data.root={SHARED / 'xnli'}",
        "model.weights=random",
        f"model.name_or_path={SHARED / 'models' / 'mbert_tokenizer'}",
        "source_language=en",
        "target_languages=[en,th]",
        "data.train_limit=64",
        "data.probe_limit=12",
        "trainer.max_epochs=1",
        "keep_checkpoint=false",
        f"output_dir={tmp_path}",
        f"cache_dir={tmp_path}/cache",
    ]
    with initialize_config_module("xling.conf", version_base="1.3"):
        run = train(OmegaConf.to_container(compose("train", overrides), resolve=True))
    impact = pd.read_parquet(run.path / "impact.parquet")
    last = impact[impact["step"] == 2]
    assert last["layer"].max() == 12
    assert last.loc[last["layer"] == 0, "reason"].str.contains("constant").all()
    assert last.loc[last["layer"] > 0, "impact"].notna().all()
