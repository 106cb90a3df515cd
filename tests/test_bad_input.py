"""Invalid values stop a run with an error of one line that names the key, before anything is written."""

import pytest

from recbole_unirep import cli

SMALL = ["--text_encoder=lexical", "--lexical_dim=8", "--encoder_sizes=[8]", "--codebook_size=4", "--epochs=1"]
ROWS = "sample_num none, dynamic False; loss_type=BCE in training_rows user or target draws one uniform negative per"
OF_UNIREP = [
    ("--run_dir=", "run_dir is empty: name a folder"),
    ("--text_encoder=None", "text_encoder=None names no encoder"),
    ("--text_encoder=nobody", "text_encoder nobody can't be loaded"),
    ("--text_fields=[nope]", "none of the columns ['nope'], it has ['item_id', 'title'"),
    ("--encoder_sizes=[a,b]", "encoder_sizes=['a', 'b'] must be whole numbers above 0"),
    ("--encoder_sizes=[8,0]", "encoder_sizes=[8, 0] must be whole numbers above 0"),
    ("--encoder_sizes=8", "encoder_sizes=8 is not a list"),
    ("--table_gradient_share=0", "table_gradient_share=0 is out of range"),
    ("--table_gradient_share=1.5", "table_gradient_share=1.5 is out of range"),
    ("--stopping_step=-1", "stopping_step=-1 is too small: give at least 0"),
    ("--stopping_step=x", "stopping_step=x is not a number"),
    ("--weight_decay=-0.1", "weight_decay=-0.1 is too small: give at least 0"),
    ("--learner=adamm", "learner=adamm is not known: choose one of adam, adamw, sgd"),
    ("--train_neg_sample_args=None --loss_type=BCE", ROWS),
    ("--learning_rate=fast", "learning_rate=fast is not a number: give one, such as the default 0.00"),
    ("--learning_rate=-1", "learning_rate=-1 is too small"),
    ("--learning_rate=nan", "learning_rate=nan is not a number"),
    ("--epochs=0", "epochs=0 is too small: give at least 1"),
    ("--epochs=1.5", "epochs=1.5 is not a whole number"),
    ("--users_per_batch=0", "users_per_batch=0 is too small"),
    ("--train_batch_size=-4 --training_rows=prefix", "train_batch_size=-4 is too small"),
    ("--eval_batch_size=0", "eval_batch_size=0 is too small"),
    ("--scores_at_once=0", "scores_at_once=0 is too small"),
    ("--seed=x", "seed=x is not a number"),
    ("--seed=-1", "seed=-1 is too small"),
    ("--nproc=0", "nproc=0 is too small"),
    ("--topk=0", "topk must be a positive integer"),
    ("--topk=[]", "valid_metric=NDCG@10 is not among mrr: add it to metrics and topk"),
    ("--metrics=[Foo]", "metrics=['Foo']: Foo is not known: choose from AUC"),
    ("--valid_metric=Foo@10", "valid_metric=Foo@10 is not among hit@1"),
    ("--valid_metric=NDCG@11", "valid_metric=NDCG@11 is not among hit@1"),
    ("--hidden_size=0", "hidden_size=0 is too small"),
    ("--n_layers=0", "n_layers=0 is too small"),
    ("--n_heads=5", "72"),
    ("--hidden_dropout_prob=2", "hidden_dropout_prob=2 is too large: give at most 1"),
    ("--attn_dropout_prob=-0.1", "attn_dropout_prob=-0.1 is too small: give at least 0"),
    ("--hidden_act=foo", "hidden_act=foo is not known: choose one of gelu, relu"),
    ("--backbone=LSTM", "backbone 'LSTM' is unknown"),
    ("--tokenizer=Foo", "tokenizer 'Foo' is unknown: known are BalancedRQKMeans"),
    ("--representation=foo", "representation=foo is not known: choose one of unified"),
    ("--fusion=foo", "fusion=foo is not known"),
    ("--similarity=foo", "similarity=foo is not known: choose one of dot, cosine"),
    ("--loss_type=foo", "loss_type=foo is not known: choose one of CE, BCE, BPR, SSM"),
    ("--codebook_size=500", "codebook_size=500 is more than the 117 items that it learns from: give at most as many"),
    ("--codebook_size=500 --tokenizer=RQKMeans", "codebook_size=500 is more than the 117 items"),
    ("--level_metrics=[cosine,cosine,cosine] --n_levels=2", "level_metrics names 3 levels, n_levels is 2"),
    ("--level_metrics=[foo]", "level_metrics is 'foo': choose one of cosine, euclidean"),
    ("--level_metrics=cosine", "level_metrics=cosine is not a list"),
    ("--n_levels=0", "n_levels=0 is too small"),
    ("--commitment_weight=-1", "commitment_weight=-1 is too small"),
    ("--codebook_init=foo", "codebook_init is 'foo': choose one of kmeans"),
    ("--codebook_update=foo", "codebook_update is 'foo': choose one of gradient, ema"),
    ("--codebook_decay=2", "codebook_decay=2 is too large: give at most 1"),
    ("--text_scaling=foo", "text_scaling is 'foo': choose one of none"),
    ("--collisions=append", "collisions=append needs a tokenizer that is fitted before training"),
    ("--collisions=foo --tokenizer=RQKMeans", "collisions=foo is not known: choose one of leave"),
    ("--semantic_ids=gone", "gone is not a bundle, bundle.json is missing: make one with unirep tokenize"),
    ("--code_pieces=foo --tokenizer=RQKMeans", "code_pieces=foo is not known"),
    ("--code_pieces=sentencepiece --n_pieces=2 --tokenizer=RQKMeans", "n_pieces=2 is less than the 12 codes in use"),
    ("--tokenizer=PQ --n_levels=3", "n_levels=3 does not divide the 8 dimensions of the vectors"),
    ("--tokenizer=Fused --collaborative_share=3", "collaborative_share=3 is not a fraction: give 0 to 1"),
    ("--tokenizer=CategoricalIDs --id_columns=[nope]", "there is no column nope: the .item file has title"),
    ("--training_rows=foo", "training_rows=foo is not known: choose user, target or prefix"),
    ("--protocol=uni98", "protocol=uni98 is not known: choose among uni99"),
    ("--protocol=uni99,recbole", "protocol=uni99,recbole: recbole has its own data, split and candidates"),
    ("--split=foo", "split=foo is not known: choose one of leave_one_out, cold_items"),
    ("--split=cold_items --cold_item_share=2", "cold_item_share=2 makes 236 of 118 items cold"),
    ("--cold_id_embedding=foo", "cold_id_embedding=foo is not known"),
    ("--tie_order=foo", "tie_order=foo is not known: choose file or shuffled"),
    ("--MAX_ITEM_LIST_LENGTH=0", "MAX_ITEM_LIST_LENGTH=0 is too small"),
    ("--warmup_steps=-1", "warmup_steps=-1 is too small"),
    ("--lr_schedule=foo", "lr_schedule=foo is not known: choose one of constant"),
    ("--enable_amp=maybe", "enable_amp=maybe is neither True nor False"),
    ("--user_inter_num_interval=[500,inf)", "no interaction of tiny is left after filtering"),
    ("--user_inter_num_interval=foo", "user_inter_num_interval=foo is not an interval: write one such as [5,inf)"),
    ("--val_interval=foo", "val_interval=foo is not a mapping"),
    ("--load_col=foo", "load_col=foo is not a mapping"),
    ("--clip_grad_norm=foo", "clip_grad_norm=foo is not a mapping"),
    ("--eval_args=foo", "eval_args"),
    ("--field_separator=x", "tiny.inter has no column 'item_id', only user_id: name yours with --ITEM_ID_FIELD=COLUMN"),
    ("--transition_bias=-1", "transition_bias=-1 is not a number of items: give 3, or 0 to turn it off"),
    ("--temperature=0 --similarity=cosine", "temperature=0 is not a number above 0"),
    ("--repeat_bias=7", "repeat_bias=7 is neither True nor False"),
    ("--shared_negatives=0 --loss_type=SSM", "shared_negatives=0 is too small"),
    ("--negative_distribution=foo --loss_type=SSM", "negative_distribution=foo is not known"),
    ("--preset=foo", "preset 'foo' is unknown: known are best, paper"),
    ("--dataset=gone", "dataset 'gone' is unknown, there is no folder"),
    ("--data_path=gone", "dataset 'tiny' is unknown, there is no folder gone/tiny (--data_path)"),
    ("--config_files=gone.yaml", "config file gone.yaml does not exist: correct config_files"),
    ("--sed=1", "unknown key 'sed', did you mean 'seed'"),
    ("--resume=gone", "resume=gone continues a run with its own settings"),
]
OF_OTHERS = [
    ("SASRec --n_heads=3", "The hidden size (64) is not a multiple of the number of attention heads (3)"),
    ("SASRec --preset=best", "preset 'best' is asked for, SASRec has none"),
    ("TIGER --codebook_size=4 --num_beams=3 --topk=[10]", "num_beams=3 finds fewer items than topk=10 asks for"),
    ("TIGER --decoder_only=maybe", "decoder_only=maybe is neither True nor False"),
    ("RPG --graph_neighbours=0", "graph_neighbours=0 is too small"),
    ("LIGER --codebook_size=4 --temperature=-1", "temperature=-1 divides the cosines"),
    ("GRU4Rec --loss_type=SSMM", "GRU4Rec rejects its settings (loss_type=SSMM)"),
    ("BERT4Rec --loss_type=SSM", "BERT4Rec with loss_type=SSM needs training on user sequences"),
    ("BERT4Rec --mask_ratio=2", "mask_ratio=2 is too large: give at most 1"),
    ("Caser --nh=0", "nh=0 is too small: give at least 1"),
    ("SASRecF --selected_features=[nope]", "tiny.item has no item features nope, found item_id"),
    ("RaCT", "train_stage=actor_pretrain of RaCT is a separate run of RecBole itself: run it there"),
    ("RaCT --train_stage=critic_pretrain", "train_stage=critic_pretrain of RaCT is a separate run"),
    ("XGBoost", "model XGBoost of RecBole needs a package that is not installed: pip install lightgbm"),
    ("NoSuch", "model 'NoSuch' is unknown: known are"),
]
CASES = [(f"UniRep {given}", message) for given, message in OF_UNIREP] + OF_OTHERS


@pytest.mark.parametrize(("given", "message"), CASES, ids=[given for given, _ in CASES])
def test_an_invalid_value_is_reported_in_one_line(tiny, tmp_path, monkeypatch, capsys, given, message):
    model, *arguments = given.split()
    small = SMALL if model == "UniRep" else ["--text_encoder=lexical"]
    keys = ["--dataset=tiny", f"--data_path={tiny.parent}", "--show_progress=False", *small, *arguments]
    last = {key.partition("=")[0]: key for key in [f"--model={model}", *keys]}  # later arguments replace earlier ones
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("sys.argv", ["shell", *last.values()])
    assert cli.run_recbole() == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("run_recbole: ")]) == 1, lines
    assert lines[-1].startswith("run_recbole: ")
    assert message in lines[-1]
    assert "Traceback" not in "".join(lines)
    left = {path.name for path in tmp_path.rglob("*") if path not in before}
    assert left <= {"tiny.lexical.npy", "tiny.lexical.json"}, left  # text vectors, which the next run reuses


def test_debug_shows_the_traceback(tiny, monkeypatch):
    keys = ["--model=UniRep", "--dataset=tiny", f"--data_path={tiny.parent}", "--epochs=0", "--debug=True"]
    monkeypatch.setattr("sys.argv", ["shell", *keys])
    with pytest.raises(ValueError, match="epochs=0 is too small"):
        cli.run_recbole()
