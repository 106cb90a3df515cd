"""Values that mean nothing stop a run in one line before anything is written."""

import pytest

from recbole_unirep.quick_start import run_recbole

ROWS = "distribution none, sample_num none, dynamic False; with loss_type=BCE one row a user draws one uniform negative"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--run_dir=", "run_dir is empty: name a folder"),
        ("--text_encoder=None", "text_encoder=None names no encoder"),
        ("--encoder_sizes=[a,b]", r"encoder_sizes=\['a', 'b'\] are not all whole numbers above 0"),
        ("--encoder_sizes=[8,0]", r"encoder_sizes=\[8, 0\] are not all whole numbers above 0"),
        ("--encoder_sizes=8", "encoder_sizes=8 is no list"),
        ("--table_gradient_share=0", "table_gradient_share=0 is no share"),
        ("--table_gradient_share=1.5", "table_gradient_share=1.5 is no share"),
        ("--stopping_step=-1", "stopping_step=-1 is too small: give at least 0"),
        ("--weight_decay=-0.1", "weight_decay=-0.1 is too small: give at least 0"),
        ("--learner=adamm", "learner=adamm is not known: choose one of adam, sgd"),
        ("--train_neg_sample_args=None --loss_type=BCE", ROWS),
    ],
)
def test_a_value_that_means_nothing_is_named(tiny, tmp_path, argument, message):
    before = sorted(tmp_path.rglob("*"))
    small = ["--model=UniRep", "--dataset=tiny", f"--data_path={tiny.parent}", "--show_progress=False"]
    if "text_encoder" not in argument:
        small += ["--text_encoder=lexical", "--lexical_dim=8", f"--text_dir={tmp_path / 'vectors'}"]
    if "encoder_sizes" not in argument:
        small += ["--encoder_sizes=[8]", "--codebook_size=4"]
    with pytest.raises(ValueError, match=message) as caught:
        run_recbole(arguments=[*small, *argument.split()])
    assert "\n" not in str(caught.value)
    assert sorted(path for path in tmp_path.rglob("*") if "vectors" not in path.parts) == before
