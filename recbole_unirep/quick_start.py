"""recbole_unirep.quick_start: one run, start to end.

`run_recbole` reads from top to bottom: config, data, model, training, ranking, result.
"""

from contextlib import contextmanager, nullcontext
from logging import getLogger
from pathlib import Path
from time import perf_counter

import torch
from recbole.utils import get_trainer, init_seed

from recbole_unirep import parallel
from recbole_unirep.compat.pickle_guard import FLAG
from recbole_unirep.config import Config
from recbole_unirep.data.recbole_split import load_recbole_data
from recbole_unirep.data.split import load_data
from recbole_unirep.files.lock import locked
from recbole_unirep.model.backbone import with_keys
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.runs.environment import environment
from recbole_unirep.runs.folder import (
    BEST,
    CONFIG,
    LAST,
    RANKS,
    check_data,
    create_run_folder,
    saved_config,
    write_config,
    write_environment,
    write_result,
)
from recbole_unirep.runs.log import RunLog
from recbole_unirep.runs.result import measures, peak_memory, table
from recbole_unirep.scoring.metrics import metric_names
from recbole_unirep.scoring.protocols import RECBOLE, protocols_asked
from recbole_unirep.semantic_ids.frozen_codes import keep_fitted, of_run
from recbole_unirep.settings.values import split_arguments
from recbole_unirep.training.checkpoint import load_weights
from recbole_unirep.training.pretraining import check_stage, hand_over
from recbole_unirep.training.trainer import trainer_class

# When a run is resumed; the data are compared by their fingerprint.
MAY_CHANGE = ("epochs", "stopping_step", "show_progress", "use_gpu", "gpu_id", "data_path", "debug", FLAG)


def run_recbole(model=None, dataset=None, config_file_list=None, config_dict=None, arguments=(), callback_fn=None):
    """Trains a model, chooses its checkpoint on validation, ranks it under every protocol and leaves a run folder.

    Args:
        model (str or None): name of one of our models or RecBole's.
        dataset (str or None): name of a dataset.
        config_file_list (list[str] or None): YAML files.
        config_dict (dict or None): settings, stronger than the files.
        arguments (sequence of str): `--key=value`, stronger than config_dict.
        callback_fn (callable or None): called with epoch and validation score after each evaluation; training ends
            where it answers True. For one process.

    Returns:
        dict: what result.json holds; `test_result` by protocol.

    Raises:
        ValueError: a setting or a file that can't be used; nothing has been written then.
        FileNotFoundError: a file that is missing.
    """
    started = perf_counter()
    if parallel.is_launched() and parallel.world_size() == 1:  # by torchrun
        parallel.join()
    with RunLog(parallel.is_main()) as log:
        config = _config(model, dataset, config_file_list, config_dict, arguments)
        check_stage(config)
        protocols = _protocols(config)
        if config["nproc"] == 1 or parallel.world_size() > 1:
            return _run(config, protocols, log, started, callback_fn)
    if callback_fn is not None:
        raise ValueError(
            f"callback_fn is called in one process, nproc={config['nproc']} asks for more: leave nproc at 1"
        )
    given = (model, dataset, config_file_list, config_dict, tuple(arguments))
    return parallel.spawn(run_recbole, config["nproc"], given)


def _run(config, protocols, log, started, callback_fn):
    """The pipeline of one process."""
    for note in config.notes if not config["resume"] else ():
        getLogger().info(note)
    pretrains = config["train_stage"] == "pretrain"  # on RecBole's rows
    in_rows_of_users = not pretrains and trains_rows(config) and config["training_rows"] == "user"
    if in_rows_of_users and "train_batch_size" in config.external_config_dict and not config["resume"]:
        getLogger().info(f"train_batch_size is not used by {config['model']} in rows of users: users_per_batch is")
    init_seed(config["seed"], config["reproducibility"])
    data = _data(config)
    hash_of_candidates = data.test.candidates_hash if "uni99" in protocols else None
    init_seed(config["seed"], config["reproducibility"])
    if config["resume"]:
        check_data(config["resume"], data.fingerprint)
    model = build_model(of_run(config, config["resume"]), data.train)
    if hasattr(model, "begin"):  # with the weights of another run
        model.begin()

    with _folder(config, data.fingerprint) as folder:
        if parallel.world_size() > 1:
            torch.manual_seed(config["seed"] + parallel.rank())  # each process drops out units of its own
        if not (folder / LAST).is_file():  # a run older than its bundle has other codes where it was moved
            keep_fitted(model, folder)
        model.fitted_codes = {}
        log.write_to(folder)
        result = _train_and_rank(config, data, model, protocols, folder, started, callback_fn)
        result["candidates_hash"] = hash_of_candidates
        write_result(folder, result)
    getLogger().info(table(result, folder))
    return result


def _train_and_rank(config, data, model, protocols, folder, started, callback_fn):
    """Training, ranking, result; the run's folder holds its config."""
    pretrains = config["train_stage"] == "pretrain"
    trainer = _trainer(config, model)
    pretrain_seconds = None
    try:
        if pretrains and hasattr(trainer, "pretrain"):
            trainer, pretrain_seconds = hand_over(
                trainer,
                _pretraining_data(config, data),
                lambda **keys: _trainer(config, build_model(with_keys(config, **keys), data.train)),
            )
        if config["resume"] and (folder / LAST).is_file():
            trainer.resume(data.train_data)
        elif config["resume"]:
            trainer.epoch_log.cut(None, 0)  # a kill may have left the line of an epoch without its checkpoint
        best_score, best_result = trainer.fit(
            data.train_data, data.valid, show_progress=config["show_progress"], callback_fn=callback_fn
        )
        test_result = trainer.evaluate(data.test, protocols=protocols, ranks_file=folder / RANKS)
    except KeyboardInterrupt:
        getLogger().info(_how_to_continue(folder))
        raise
    return {
        "model": config["model"],
        "dataset": config["dataset"],
        "seed": config["seed"],
        "best_valid_score": best_score if best_result else None,
        "valid_metric": config["valid_metric"],
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": best_result,
        "best_epoch": trainer.best_epoch,
        "test_result": test_result,
        **measures(trainer.model),
        "precision": trainer.optimization.precision,
        "pretrain_seconds": pretrain_seconds,
        "train_seconds": round(trainer.train_seconds, 3),
        "seconds": round(trainer.earlier_seconds + perf_counter() - started, 3),
        "peak_memory_bytes": peak_memory(config["device"]),
        "tie_order": config["tie_order"],
        "tie_seed": config["tie_seed"] if config["tie_order"] == "shuffled" else None,
        "split": config["split"],
        "cold_item_seed": config["cold_item_seed"] if config["split"] == "cold_items" else None,
        "dataset_fingerprint": data.fingerprint,
        "candidates_seed": config["candidates_seed"],
    }


def load_data_and_model(run, data_path=None, **keys):
    """Reads a run back: the same data, the chosen checkpoint, ranking identically.

    Args:
        run (str or Path): folder of a run.
        data_path (str or None): where the datasets lie now; None is where the run found them.
        **keys: settings of ranking that should differ from the run's.

    Returns:
        tuple[Config, AbstractRecommender, Data]: the model in evaluation mode.

    Raises:
        FileNotFoundError: the folder holds no run, or one without a checkpoint.
        ValueError: the checkpoint is damaged, or the data have changed since.
    """
    moved = {} if data_path is None else {"data_path": str(data_path)}
    config = of_run(Config(config_file_list=[saved_config(run)], config_dict={**moved, **keys}), run)
    init_seed(config["seed"], config["reproducibility"])
    data = _data(config)
    check_data(run, data.fingerprint)
    model = build_model(config, data.train)
    model.fitted_codes = {}
    load_weights(model, Path(run) / BEST, config["device"])
    return config, model.eval(), data


def _config(model, dataset, config_file_list, config_dict, arguments):
    """The run's config; with --resume=FOLDER the interrupted run's own, in which a few keys may change."""
    texts = split_arguments(arguments)
    if "resume" not in texts:
        return Config(model, dataset, config_file_list, config_dict, arguments)
    others = [key for key in texts if key not in ("resume", *MAY_CHANGE)]
    if model or dataset or config_file_list or config_dict or others:
        raise ValueError(
            f"resume={texts['resume']} continues a run with its own settings, {', '.join(others) or 'others'} were "
            f"given: leave them out (only {', '.join(MAY_CHANGE)} may change)"
        )
    return Config(config_file_list=[saved_config(texts["resume"])], arguments=arguments)


def _protocols(config):
    """Names of the protocols asked for; they and the metrics are checked before anything is read."""
    protocols, modes = protocols_asked(config["protocol"]), set(config["eval_args"]["mode"].values())
    known = metric_names(config)
    n_processes = max(config["nproc"], parallel.world_size())
    if RECBOLE in protocols and n_processes > 1:
        raise ValueError(f"protocol={RECBOLE} runs in one process, {n_processes} are asked for: leave nproc at 1")
    if RECBOLE not in protocols:
        known.append("mrr")
        if modes != {"full"}:
            raise ValueError(
                f"eval_args mode {', '.join(sorted(modes))}: this command ranks by protocol, e.g. --protocol=uni99, or "
                f"as RecBole does with --protocol=recbole"
            )
    if config["valid_metric"].lower() not in known:
        raise ValueError(
            f"valid_metric={config['valid_metric']} is not among {', '.join(known)}: add it to metrics and topk"
        )
    return protocols


def _data(config):
    """The run's data: split by our rules, or by RecBole's under protocol recbole."""
    if RECBOLE in protocols_asked(config["protocol"]):
        return load_recbole_data(config)
    return load_data(config, one_row_a_user=trains_rows(config))


def _pretraining_data(config, data):
    """RecBole's rows, whatever the fine-tuning has."""
    return load_data(config, one_row_a_user=False).train_data if trains_rows(config) else data.train_data


@contextmanager
def _folder(config, fingerprint):
    """The run's folder, with its config and environment written; no other process works in it."""
    if config["resume"]:
        folder = Path(config["resume"])
    else:
        made = parallel.is_main() and create_run_folder(config["run_dir"], config["dataset"], config["model"])
        folder = Path(parallel.from_main(str(made)))
    with locked(folder, "resume" if config["resume"] else "run_dir") if parallel.is_main() else nullcontext():
        if not config["resume"]:
            if (folder / CONFIG).exists():
                raise ValueError(f"run_dir={folder} was taken by another command just now: name another folder")
            write_environment(folder, {**environment(config["device"]), "dataset_fingerprint": fingerprint})
        write_config(folder, config.resolved)
        config["run_dir"] = str(folder)
        yield folder


def _trainer(config, model):
    return trainer_class(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)


def _how_to_continue(folder):
    kept = f"the best checkpoint so far is {folder / BEST}" if (folder / BEST).is_file() else "no epoch was finished"
    return f"stopped; {kept}; continue with: run_recbole --resume={folder}"
