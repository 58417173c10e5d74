"""Every export that is a dataset for SFT is read by the real `datasets` and trained on by the real trl, unchanged."""

import json
import subprocess
import sys

import pytest
from msgspec.structs import replace

from tests.datasets.tool_dialogues import FLEET, some
from tests.training import world
from tui_router.core.types import Message
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


_LABELS = """
import json, sys
from datasets import load_dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer
base, *folders = sys.argv[1:]
for folder in folders:
    chat = not folder.endswith("prompt-completion")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content + eos_token }}"
        "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    config = SFTConfig(output_dir=folder + "-out", max_steps=1, per_device_train_batch_size=2, use_cpu=True, bf16=False,
                       gradient_checkpointing=False, report_to="none", disable_tqdm=True, save_strategy="no", max_length=None,
                       **({"assistant_only_loss": True} if chat else {}))
    data = load_dataset(folder, split="train")
    if "conversations" in data.column_names:
        roles = {"system": "system", "human": "user", "gpt": "assistant"}
        data = data.map(lambda row: {"messages": [{"role": roles[t["from"]], "content": t["value"]} for t in row["conversations"]]},
                        remove_columns="conversations")
    trainer = SFTTrainer(model=base, args=config, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    for batch in trainer.get_train_dataloader():
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"]):
            places = [i for i, label in enumerate(labels.tolist()) if label != -100]
            real = int(mask.sum())
            print("ROW", json.dumps({
                "form": folder.rpartition("/")[2], "step": trainer.state.global_step,
                "last": places == list(range(real - len(places), real)),
                "learned": tokenizer.decode(labels[places], skip_special_tokens=True),
                "shown": tokenizer.decode(ids[:real - len(places)], skip_special_tokens=True),
            }))
"""


@pytest.mark.timeout(300)
def test_the_loss_covers_the_label_alone_and_no_earlier_answer(tmp_path, base):
    """The tokens of the label are the last ones of each row; an earlier answer is shown, and never learned."""
    fleet, folders = world.COMPANY.fleet, []
    history = (Message("user", "is marlow ready"), Message("assistant", "marlow is odd today"))
    talks = [replace(one, history=history) for one in world.examples(8)]
    for form in ("messages", "sharegpt", "hf", "prompt-completion"):
        folder = tmp_path / form
        options = ExportOptions(form=form, target="route", duplicates=True)
        export(lambda: talks, fleet, options, folder, LearnedRouter.as_shipped(fleet).projection)
        folders.append(str(folder))
    done = subprocess.run(
        [sys.executable, "-c", _LABELS, str(base), *folders],
        cwd=tmp_path,
        env=launcher.environment(tmp_path),
        capture_output=True,
        text=True,
    )
    rows = [json.loads(line.removeprefix("ROW ")) for line in done.stdout.splitlines() if line.startswith("ROW ")]
    assert {row["form"] for row in rows} == {"messages", "sharegpt", "hf", "prompt-completion"}, done.stderr[-2500:]
    for row in rows:
        assert row["step"] == 1 and row["last"], row
        assert row["learned"].strip() in {f"ROUTE_TO={name}" for name in world.WORDS}, row
        assert "marlow is odd today" in row["shown"] and "do not answer the request" in row["shown"].casefold(), row
