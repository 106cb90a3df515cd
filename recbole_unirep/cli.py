"""What a shell can call: run_recbole (RecBole's ``--key=value``) and unirep (subcommands)."""

import sys

import recbole_unirep

RUN_RECBOLE_HELP = """\
usage: run_recbole --model=MODEL --dataset=DATASET [--KEY=VALUE ...]

Train and test a recommender: UniRep, or any of RecBole's (SASRec, GRU4Rec, Caser, BERT4Rec, ...), with the same
defaults, data and evaluation. Any key of the yaml files under properties or of RecBole can be set.

  --model=NAME         UniRep or one of RecBole's models
  --dataset=NAME       ml-100k needs no download; a folder NAME with NAME.inter in it is a dataset
  --data_path=FOLDER   where the datasets' folders lie (dataset/)
  --text_encoder=NAME  a sentence-transformers model, 'lexical', or NAME of the vectors <dataset>.NAME.npy;
                       [A,B] takes both
  --preset=NAME        a named group of settings, e.g. paper
  --config_files=FILE  yaml files of yours, separated by blanks
  --run_dir=FOLDER     where the run is kept (a new folder under runs/)
  --resume=FOLDER      continue an interrupted run
  --debug=True         show the traceback of an error

examples:
  run_recbole --model=UniRep --dataset=ml-100k
  run_recbole --model=UniRep --dataset=amazon-beauty --data_path=datasets --text_encoder=minilm --learning_rate=1e-3
  run_recbole --model=SASRec --dataset=amazon-beauty --data_path=datasets --config_files="mine.yaml"
"""

UNIREP_HELP = """\
usage: unirep COMMAND [--KEY=VALUE ...]

  embed      encode the item text of a dataset once, for all later runs; started again it continues:
             embed --dataset=NAME [--text_encoder=NAME] [--text_processes=N] [--text_shard_size=2048]
  compare    one table of models trained alike, or of finished runs:
             compare --dataset=NAME --models=A,B [--seeds=3] [--protocol=uni99,full,full_unseen] [--metrics=hit@10,..]
             [--ours=A] [--out=FOLDER] [--KEY=VALUE] [--A.KEY=VALUE], or compare RUN RUN ... [--out=FOLDER];
             started again it continues
  tokenize   semantic IDs of a catalogue, as a bundle:
             tokenize --dataset=NAME [--tokenizer=RQKMeans] [--collisions=leave] [--collaborative=RUN|graph]
             [--out=FOLDER] [--KEY=VALUE], or tokenize --vectors="A.npy B.npy" ...
  encode-items
             codes of new items by a bundle's tokenizer:
             encode-items BUNDLE --vectors="NEW.npy" | --dataset=NAME [--out=FILE.csv]
  import-recbole
             a checkpoint that RecBole itself saved as a run, ranked on the test items; it is a pickle, which runs
             whatever code is in it: import-recbole FILE.pth --unsafe_pickle=True [--run_dir=FOLDER]
             [--data_path=FOLDER] [--protocol=..]
  inspect    whether semantic IDs are healthy; exit code 1 where they are not:
             inspect BUNDLE|RUN [--data_path=FOLDER] [--item=TOKEN] [--min_usage=0.5] [--min_perplexity=0.1]
             [--min_coverage=0.8] [--out=FOLDER]
  rank-weights
             a finished UniRep's validation under other weights of what ranking adds to scores, without training:
             rank-weights RUN --history_similarity=0,1.5,3 --popularity_bias=0,0.2 [--data_path=FOLDER]
  recommend  the best items of a finished run, RecBole's own models too:
             recommend RUN --items A,B,C | --users FILE | --all-users [--k=10] [--out FILE.csv|.jsonl|.parquet]
             [--candidates FILE] [--keep-earlier] [--index=exact|faiss|hnsw] [--data_path=FOLDER]; whole histories are
             used, their items left out; files have a token a line
  add-items  new items for a finished UniRep, VQRec or TextKNN, recommended from then on, without training:
             add-items RUN NEW_ITEMS.csv|.tsv|.jsonl [--id_fallback=mean|zero|nearest] [--vectors="NEW.npy"]
             [--data_path=FOLDER]; columns: the dataset's item column and those that the run's item text is made of
  export     a finished run as safetensors, ONNX and JSON with checksums, which need neither its data nor RecBole:
             export RUN [--out=RUN/export] [--overwrite=True] [--data_path=FOLDER]; or what a language model is tuned
             on, from a bundle: export BUNDLE --format=instructions --dataset=NAME [--max_history=10] [--out=FOLDER]
  figures    draw a finished run: figures RUN [--out=FOLDER] [--data_path=FOLDER] [--category_field=COLUMN];
             learning curve, codebook usage, items by category, t-SNE, as PNG, SVG and JSON in RUN/figures
  serve      a finished run, or an export of it, over HTTP with a page to pick items and see recommendations:
             serve RUN|EXPORT [--port 8000] [--host 127.0.0.1] [--data_path=FOLDER] [--index=exact|faiss|hnsw];
             other machines are answered only where --host says so
  study      run the grid of a study file and write its report:
             study STUDY.yaml [--rows=A,B/SEED] [--dry-run] [--report-only] [--out=FOLDER] [--KEY=VALUE];
             started again it continues
  tune       search settings on validation, the same number of trials for each model:
             tune --models=A,B --dataset=NAME [--trials=20] [--space=default|FILE] [--out=FOLDER] [--prune_after=5]
             [--KEY=VALUE ...]; started again it continues; the best settings of a model are in FOLDER/A/best.yaml
  prepare    raw reviews and metadata (Amazon 2014, 2018, 2023, or your CSV, JSONL, Parquet) into a dataset:
             prepare --dataset=NAME --reviews="FILE FILE" [--metadata="FILE FILE"] [--data_path=dataset/] [--core=5]
             [--user_core=N] [--item_core=N] [--duplicates=first|last|all] [--max_broken=0.01] [--memory=2GB]
             [--columns="user_id=FIELD item_id=FIELD rating=FIELD timestamp=FIELD"] [--item_columns="item_id=FIELD .."]
             [--format=jsonl|csv|parquet] [--header=NAME,NAME] [--separator=tab] [--overwrite=True]
             [--split=temporal --valid_from=TIME --test_from=TIME]
  validate   check a dataset's files as RecBole will read them; exit code 1 where it reads them otherwise:
             validate DATASET [--data_path=dataset/] [--USER_ID_FIELD=COLUMN] [--ITEM_ID_FIELD=COLUMN]
             [--TIME_FIELD=COLUMN] [--field_separator=tab]
  --version  print the version

examples:
  unirep embed --dataset=amazon-beauty --data_path=datasets --text_encoder=sentence-transformers/all-MiniLM-L6-v2
  unirep compare --dataset=ml-100k --models=UniRep,SASRec --seeds=3
  unirep recommend runs/ml-100k-UniRep-20261124-024401 --items 50,181,172
  unirep figures runs/ml-100k-UniRep-20261124-024401
  unirep prepare --dataset=beauty --reviews=reviews_Beauty.json.gz --metadata=meta_Beauty.json.gz
  unirep tune --models=UniRep,SASRec --dataset=ml-100k --trials=30 --out=runs/tune-ml-100k
"""


def run_recbole():
    """Train and test a model; the exit code of the process is returned."""
    return _command("run_recbole", sys.argv[1:], RUN_RECBOLE_HELP, _train)


def unirep():
    """Run a subcommand; the exit code of the process is returned."""
    return _command("unirep", sys.argv[1:], UNIREP_HELP, _subcommand)


def _command(name, arguments, usage, call):
    """Answer questions about the command itself, else call it and say in one line what the user can mend."""
    if not arguments:
        print(usage, end="", file=sys.stderr)
        return 2
    if not {"-h", "--help"}.isdisjoint(arguments):
        print(usage, end="")
        return 0
    if arguments[0] == "--version":
        print(f"recbole-unirep {recbole_unirep.__version__}")
        return 0
    try:
        return call(arguments) or 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, ImportError) as error:
        if "--debug=true" in (argument.lower() for argument in arguments):
            raise
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _train(arguments):
    recbole_unirep.run_recbole(arguments=arguments)


def _embed(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.commands.embed import embed

    embed(arguments)


def _figures(arguments):
    if not arguments or arguments[0].startswith("--"):
        raise ValueError("figures draws a finished run: write unirep figures RUN, the run's folder first")
    recbole_unirep.require_recbole()
    from recbole_unirep.settings.values import split_arguments
    from recbole_unirep.study.run_figures import write_run_figures

    options, known = split_arguments(arguments[1:]), ("out", "data_path", "category_field")
    options.pop("debug", None)
    for name, text in options.items():
        if name not in known or not text:
            found = f"--{name} is empty" if name in known else f"there is no --{name}"
            raise ValueError(f"figures: {found}: known are --{'=.., --'.join(known)}=..")
    for path in write_run_figures(arguments[0], **options):
        print(path, flush=True)


def _compare(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.commands.compare import compare

    compare(arguments)


def _study(arguments):
    if not arguments or arguments[0].startswith("--"):
        raise ValueError("study runs a study file: write unirep study STUDY.yaml, the file first")
    recbole_unirep.require_recbole()
    from recbole_unirep.study.study_report import study

    study(arguments[0], arguments[1:])


def _tune(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.commands.tune import tune

    tune(arguments)


def _tokenize(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.commands.tokenize import tokenize

    tokenize(arguments)


def _encode_items(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.commands.tokenize import encode_items

    encode_items(arguments)


def _inspect(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.commands.inspect_ids import inspect_ids

    return 0 if inspect_ids(arguments) else 1


def _prepare(arguments):
    from recbole_unirep.commands.prepare import prepare_dataset

    prepare_dataset(arguments)


def _validate(arguments):
    from recbole_unirep.commands.prepare import validate_dataset

    return 0 if validate_dataset(arguments) else 1


def _rank_weights(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.commands.rank_weights import rank_weights

    rank_weights(arguments)


def _export(arguments):
    recbole_unirep.require_recbole()
    if "--format=instructions" in arguments:
        from recbole_unirep.serving.instructions import export_instructions as export
    else:
        from recbole_unirep.serving.export import export
    for line in export(arguments):
        print(line, flush=True)


def _serve(arguments):
    from recbole_unirep.commands.serve import serve

    serve(arguments)


def _import_recbole(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.commands.import_recbole import import_recbole

    import_recbole(arguments)


def _recommend(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.commands.recommend import recommend

    for line in recommend(arguments):
        print(line, flush=True)


def _add_items(arguments):
    recbole_unirep.require_recbole()
    from recbole_unirep.serving.add_items import add_items_command

    print(add_items_command(arguments))


SUBCOMMANDS = {
    "add-items": _add_items,
    "compare": _compare,
    "embed": _embed,
    "encode-items": _encode_items,
    "export": _export,
    "figures": _figures,
    "import-recbole": _import_recbole,
    "inspect": _inspect,
    "prepare": _prepare,
    "rank-weights": _rank_weights,
    "recommend": _recommend,
    "serve": _serve,
    "study": _study,
    "tokenize": _tokenize,
    "tune": _tune,
    "validate": _validate,
}


def _subcommand(arguments):
    name = arguments[0]
    if name not in SUBCOMMANDS:
        raise ValueError(f"command '{name}' is unknown: known are {', '.join(SUBCOMMANDS)}")
    return SUBCOMMANDS[name](arguments[1:])
