"""Which vocabulary an evaluation reads with."""

from medmm.config.evaluation import LabelerConfig
from medmm.config.schema import Config
from medmm.scoring.own_vocabulary import with_own_vocabulary


def test_the_runs_own_is_taken_unless_another_is_asked_for(tmp_path):
    gone, other = tmp_path / "gone.yaml", tmp_path / "other.yaml"
    trained = Config(labeler=LabelerConfig(vocabulary=gone))
    assert with_own_vocabulary(trained, trained, tmp_path) == trained  # an earlier run: none lies in it
    own = tmp_path / "model" / "vocabulary.yaml"
    own.parent.mkdir()
    own.write_text("version: 1\n")
    assert with_own_vocabulary(trained, trained, tmp_path).labeler.vocabulary == own
    moved = Config()  # a run that left its places behind names no file
    assert with_own_vocabulary(moved, moved, tmp_path).labeler.vocabulary == own
    asked = Config(labeler=LabelerConfig(vocabulary=other))
    assert with_own_vocabulary(asked, trained, tmp_path) == asked
