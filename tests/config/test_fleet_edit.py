"""A change of fleet.toml: comments stay, a wrong file is left alone, and it can be taken back."""

import pytest

from tests.worlds import SHIPPED
from tui_router.config.fleet_edit import EditError, FleetEdits
from tui_router.config.settings import load_config

OWN = """# my fleet
[routes.code]   # the big one
model = "gpt-oss-20b"

[routes.code.triggers."python"]
# said often
weight = 2.5

[settings]
theme = "router-light"  # at the window
"""
CHANGE = '[routes.code.triggers."python"]\nweight = 1.25\n'


@pytest.fixture
def edits(tmp_path):
    (tmp_path / "data").mkdir()
    return FleetEdits(tmp_path / "data")


def test_comments_and_order_stay_and_it_can_be_taken_back(tmp_path, edits):
    file = tmp_path / "fleet.toml"
    name = next(t.name for t in SHIPPED.fleet.route("code").triggers)
    own = OWN.replace('"python"', f'"{name}"')
    file.write_text(own)
    file.chmod(0o640)
    edits.apply(file, CHANGE.replace('"python"', f'"{name}"'), "weigh it less")
    text = file.read_text()
    assert text == own.replace("weight = 2.5", "weight = 1.25")
    assert file.stat().st_mode & 0o777 == 0o640
    fleet = load_config(file).fleet
    assert next(t.weight for t in fleet.route("code").triggers if t.name == name) == 1.25
    assert edits.last().summary == "weigh it less"
    edits.undo()
    assert file.read_text() == own and edits.last() is None
    with pytest.raises(EditError, match="no change was made"):
        edits.undo()


def test_a_file_that_is_not_there_is_made_and_goes_again(tmp_path, edits):
    file = tmp_path / "config" / "fleet.toml"
    edits.apply(file, '[routes.code.triggers."zorble"]\nwords = ["zorble"]\nweight = 3.0\n', "a word")
    assert any(t.name == "zorble" for t in load_config(file).fleet.route("code").triggers)
    edits.apply(file, "[settings]\nconfidence_threshold = 0.6\n", "ask less")
    assert load_config(file).settings.confidence_threshold == 0.6
    edits.undo()
    assert load_config(file).settings.confidence_threshold == 0.7
    edits.undo()
    assert not file.exists()


def test_what_was_changed_by_hand_since_is_left_alone(tmp_path, edits):
    file = tmp_path / "fleet.toml"
    edits.apply(file, "[settings]\nconfidence_threshold = 0.6\n", "ask less")
    file.write_text(file.read_text() + "\n# mine\n")
    with pytest.raises(EditError, match="changed by hand since; undo ‘ask less’ in the file"):
        edits.undo()
    assert "# mine" in file.read_text()


@pytest.mark.parametrize(
    ("own", "change", "said"),
    [
        ("[settings", CHANGE, "is not TOML"),
        ("", "[settings]\nconfidence_threshold = 7\n", "confidence_threshold"),
        ("[nonsense]\nx = 1\n", CHANGE, "nonsense"),
    ],
)
def test_a_wrong_file_is_not_written(tmp_path, edits, own, change, said):
    file = tmp_path / "fleet.toml"
    file.write_text(own)
    with pytest.raises(EditError, match=said):
        edits.apply(file, change, "x")
    assert file.read_text() == own and not edits.all()
