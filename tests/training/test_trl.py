"""Every export that is a dataset for SFT is read by the real `datasets` and trained on by the real trl, unchanged."""

import subprocess
import sys

import pytest

from tests.datasets.tool_dialogues import FLEET, some
from tests.training import world
from tui_router.datasets.export import ExportOptions, export
from tui_router.datasets.synthetic.tool_export import export as export_tools
from tui_router.routing.learned.learned_router import LearnedRouter
from tui_router.training import launcher

_TRAIN = """
import sys
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer
base, *folders = sys.argv[1:]
for folder in folders:
    data = load_dataset(folder, split="train")
    config = SFTConfig(output_dir=folder + "-out", max_steps=2, per_device_train_batch_size=4, use_cpu=True, bf16=False,
                       gradient_checkpointing=False, report_to="none", disable_tqdm=True, save_strategy="no", max_length=512)
    trainer = SFTTrainer(model=base, args=config, train_dataset=data)
    trainer.train()
    print("TRAINED", folder.rpartition("/")[2], trainer.state.global_step)
"""


@pytest.mark.timeout(300)
def test_trl_trains_on_what_is_exported(tmp_path, base):
    fleet = world.COMPANY.fleet
    projection = LearnedRouter.as_shipped(fleet).projection
    folders = []
    for form in ("messages", "sharegpt", "prompt-completion", "hf"):
        folder = tmp_path / form
        export(
            lambda: world.examples(60),
            fleet,
            ExportOptions(form=form, target="route", duplicates=True),
            folder,
            projection,
        )
        folders.append(str(folder))
    export_tools(some(), FLEET, "messages", tmp_path / "tools", projection)  # tool calls, and the tools beside them
    folders.append(str(tmp_path / "tools"))
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, str(base), *folders],
        cwd=tmp_path,
        env=launcher.environment(tmp_path),
        capture_output=True,
        text=True,
    )
    trained = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("TRAINED")]
    assert trained == ["messages", "sharegpt", "prompt-completion", "hf", "tools"], done.stderr[-2500:]
