"""Every form, served for real and compared; and forms that were spoiled on the way, refused with the stage that fails."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.training import world
from tui_router.training.export import forms, parity
from tui_router.training.export.forms import RefusedError, RouterExportError, export
from tui_router.training.runs import Run

pytestmark = [pytest.mark.timeout(300), pytest.mark.trains]


@pytest.mark.parametrize(("form", "quant"), [("gguf", "f16"), ("ollama", "q8_0"), ("lmstudio", "f32")])
def test_a_gguf_decides_as_the_trained_model(full, tmp_path, form, quant):
    made = export(full, form, quant, tmp_path / "a folder")
    assert made.parity.same_route >= 0.99 * made.parity.n and made.parity.n > 20
    assert made.parity.same_prompt == made.parity.same_tokens == made.parity.n
    assert made.parity.max_difference <= 0.02
    (file,) = Path(made.folder).rglob("*.gguf")
    assert file.stat().st_size > 100_000
    (command,) = made.commands
    assert str(file) in shlex.split(command) or form == "ollama"
    if form == "ollama":
        text = (Path(made.folder) / "Modelfile").read_text()
        assert "FROM ./router-q8_0.gguf" in text and "<start_of_turn>user\n{{ .Prompt }}<end_of_turn>" in text
    if form == "lmstudio":
        assert file.parent.name == forms.served_name(full) and file.parent.parent.name == "tui-router"


@pytest.mark.parametrize("form", ["adapter", "merged", "gguf-lora"])
def test_an_adapter_in_every_form(lora, tmp_path, form):
    made = export(lora, form, "f16", tmp_path / "out")
    assert made.parity.same_route == made.parity.n and made.parity.max_difference <= 0.02
    assert list(Path(made.folder).glob("*.safetensors")) or list(Path(made.folder).glob("*.gguf"))


def test_what_cannot_be_written_says_so_and_leaves_nothing(full, tmp_path):
    with pytest.raises(RouterExportError, match="trained the whole model"):
        export(full, "adapter", "f16", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(RouterExportError, match="exists already"):
        export(full, "gguf", "f16", tmp_path / "taken")


# -- spoiled ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def copied(full, tmp_path):
    """A copy of the finished run, to be spoiled."""
    shutil.copytree(full.folder, tmp_path / "run")
    return Run(tmp_path / "run")


def refused(run, tmp_path, form="gguf", quant="f16"):
    with pytest.raises(RefusedError) as caught:
        export(run, form, quant, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
    return caught.value.stage


def test_a_wrong_chat_template_is_refused_at_the_template(copied, tmp_path):
    path = copied.artifact / "chat_template.jinja"
    path.write_text(
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'].split('Request:')[-1][:4] }}\n{% endfor %}model\n"
    )
    assert refused(copied, tmp_path) == "template"


def test_a_broken_tokenizer_is_refused_at_the_tokenizer(copied, tmp_path):
    path = copied.artifact / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:40]
    path.write_text(json.dumps(tokenizer))
    assert refused(copied, tmp_path) == "tokenizer"


def test_a_swapped_adapter_is_refused_at_the_adapter(lora, tmp_path, data):
    other = world.train(
        world.new_run(tmp_path / "other", replace(lora.record.recipe, steps=40), _swapped(data, tmp_path / "swapped"))
    )
    shutil.copytree(lora.folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    shutil.copyfile(other.artifact / "adapter_model.safetensors", run.artifact / "adapter_model.safetensors")
    assert refused(run, tmp_path, "adapter") == "adapter"
    assert refused(run, tmp_path, "gguf-lora") == "adapter"


def _swapped(data, folder):
    """The same requests, every route called by its neighbour's letter."""
    turned = {"A": "B", "B": "C", "C": "A"}
    folder.mkdir()
    for path in data.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row["messages"][-1]["content"] = turned[row["messages"][-1]["content"]]
        (folder / path.name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


_OUTLIERS = """
import sys
from safetensors.torch import load_file, save_file
path = sys.argv[1]
w = load_file(path)
for name in [n for n in w if n.endswith(("input_layernorm.weight", "pre_feedforward_layernorm.weight"))]:
    place = name.rpartition(".")[0].rpartition(".")[0]
    inner = ("mlp.gate_proj", "mlp.up_proj") if "feedforward" in name else ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    w[name][::32] = (1 + w[name][::32]) / 1000 - 1
    for matrix in inner:
        w[f"{place}.{matrix}.weight"][:, ::32] *= 1000
save_file(w, path, metadata={"format": "pt"})
"""
"""One weight of every block of 32 a thousand times larger, and its input as much smaller: the same function, but at 4 bits
the large one leaves nothing of its neighbours."""


def test_a_quantisation_that_is_too_hard_is_refused_at_the_quantisation(copied, tmp_path):
    subprocess.run([sys.executable, "-c", _OUTLIERS, str(copied.artifact / "model.safetensors")], check=True)
    assert refused(copied, tmp_path, "gguf", "q4_0") == "quantisation"


def test_without_a_server_it_is_written_and_said_to_be_unchecked(full, tmp_path, monkeypatch):
    def none(*_):
        raise parity.NoServerError("there is no llama-server")

    monkeypatch.setattr(parity, "_server_command", none)
    made = export(full, "gguf", "f16", tmp_path / "out")
    assert made.parity is None and "no llama-server" in made.unchecked
