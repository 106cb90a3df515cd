"""recbole_unirep.quick_start: one run from start to end: config, data, model, training, ranking, result."""

from contextlib import contextmanager, nullcontext
from logging import getLogger
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch
from recbole.utils import get_trainer, init_seed

from recbole_unirep import parallel
from recbole_unirep.compat.pickle_guard import FLAG
from recbole_unirep.config import Config
from recbole_unirep.data.recbole_split import load_recbole_data
from recbole_unirep.data.split import load_data
from recbole_unirep.files.lock import locked
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
from recbole_unirep.runs.result import peak_memory, table
from recbole_unirep.scoring.measures import measures
from recbole_unirep.scoring.metrics import metric_names
from recbole_unirep.scoring.model_contract import BuiltOnTokenizers, StartsFromRun
from recbole_unirep.scoring.protocols import RECBOLE, protocols_asked
from recbole_unirep.semantic_ids.frozen_codes import keep_fitted, of_run
from recbole_unirep.settings.arguments import split_arguments
from recbole_unirep.settings.with_keys import with_keys
from recbole_unirep.training.checkpoint import load_weights
from recbole_unirep.training.pretraining import Pretraining, check_stage, hand_over
from recbole_unirep.training.recbole_trainers import trainer_class

# Keys that may change when a run is resumed. `data_path` may change because the data are compared by fingerprint.
MAY_CHANGE = ("epochs", "stopping_step", "show_progress", "use_gpu", "gpu_id", "data_path", "debug", FLAG)


def run_recbole(model=None, dataset=None, config_file_list=None, config_dict=None, arguments=(), callback_fn=None):
    """Trains a model, selects the best checkpoint by validation, ranks it under every protocol and writes a run folder.

    Args:
        model (str or None): name of one of our models or RecBole's.
        dataset (str or None): name of a dataset.
        config_file_list (list[str] or None): YAML files.
        config_dict (dict or None): settings; they override the files.
        arguments (sequence of str): `--key=value`; they override config_dict.
        callback_fn (callable or None): called with epoch and validation score after each evaluation; training stops if
            it returns True. Works in one process only.

    Returns:
        dict: content of result.json; `test_result` maps each protocol to its metrics.

    Raises:
        ValueError: a setting or a file is not usable. Nothing has been written in this case.
        FileNotFoundError: a file is missing.
    """
    started = perf_counter()
    if parallel.is_launched() and parallel.world_size() == 1:  # started by torchrun, process group not joined yet
        parallel.join()
    with RunLog(parallel.is_main()) as log:
        config = _config(model, dataset, config_file_list, config_dict, arguments)
        check_stage(config)
        plan = plan_of(config)
        _check_protocols(config, plan)
        if config["nproc"] == 1 or parallel.world_size() > 1:
            return _run(config, plan, log, started, callback_fn)
    if callback_fn is not None:
        raise ValueError(f"callback_fn works in one process only, found nproc={config['nproc']}: leave nproc at 1")
    call = (model, dataset, config_file_list, config_dict, tuple(arguments))
    return parallel.spawn(run_recbole, config["nproc"], call)


class Plan(NamedTuple):
    """Decisions derived from the config once and used by several steps of a run.

    Attributes:
        protocols (list of str): protocols that rank the best checkpoint.
        by_recbole (bool): True if data, split and evaluation are RecBole's own.
        trains_rows (bool): True if the model trains on our training rows.
        pretrains (bool): True if the run starts with RecBole's pre-training, which uses RecBole's rows.
    """

    protocols: list
    by_recbole: bool
    trains_rows: bool
    pretrains: bool


def plan_of(config) -> Plan:
    """Returns the plan of a run.

    Args:
        config (Config): ours.

    Raises:
        ValueError: a protocol or a kind of training rows is unknown.
    """
    protocols = protocols_asked(config["protocol"])
    return Plan(protocols, RECBOLE in protocols, trains_rows(config), config["train_stage"] == "pretrain")


def _run(config, plan, log, started, callback_fn):
    """Executes the run in this process."""
    for note in config.notes if not config["resume"] else ():
        getLogger().info(note)
    on_user_sequences = plan.trains_rows and not plan.pretrains and config["training_rows"] == "user"
    if on_user_sequences and "train_batch_size" in config.external_config_dict and not config["resume"]:
        getLogger().info(
            f"{config['model']} trains on user sequences: train_batch_size is ignored, use users_per_batch"
        )
    init_seed(config["seed"], config["reproducibility"])
    data = load_data_of(config, plan)
    candidates_hash = data.test.candidates_hash if "uni99" in plan.protocols else None
    init_seed(config["seed"], config["reproducibility"])
    if config["resume"]:
        check_data(config["resume"], data.fingerprint)
    model = build_model(of_run(config, config["resume"]), data.train, plan.trains_rows)
    fitted = model.take_fitted() if isinstance(model, BuiltOnTokenizers) else {}
    if isinstance(model, StartsFromRun):
        model.begin()

    with _folder(config, data.fingerprint) as folder:
        if parallel.world_size() > 1:
            torch.manual_seed(config["seed"] + parallel.rank())  # each process draws its own dropout masks
        if not (folder / LAST).is_file():  # never replace the codes of a run that has already trained
            keep_fitted(fitted, folder)
        del fitted
        log.write_to(folder)
        result = _train_and_rank(config, data, model, plan, folder, started, callback_fn)
        result["candidates_hash"] = candidates_hash
        write_result(folder, result)
    getLogger().info(table(result, folder))
    return result


def _train_and_rank(config, data, model, plan, folder, started, callback_fn):
    """Trains and ranks the model and returns the result; the run's folder already holds its config."""
    trainer = _trainer(config, model)
    pretrain_seconds = None
    try:
        if plan.pretrains and isinstance(trainer, Pretraining):
            trainer, pretrain_seconds = hand_over(
                trainer,
                load_data(config, one_row_a_user=False).train_data if plan.trains_rows else data.train_data,
                lambda **keys: _trainer(config, build_model(with_keys(config, **keys), data.train, plan.trains_rows)),
            )
        if config["resume"] and (folder / LAST).is_file():
            trainer.resume(data.train_data)
        elif config["resume"]:
            trainer.epoch_log.cut(None, 0)  # a killed run may have logged an epoch whose checkpoint is missing
        best_score, best_result = trainer.fit(
            data.train_data, data.valid, show_progress=config["show_progress"], callback_fn=callback_fn
        )
        chosen = trainer.choose_ranking_weights(data.valid)
        if chosen:
            best_score, best_result = trainer.best_valid_score, trainer.best_valid_result
        test_result = trainer.evaluate(data.test, protocols=plan.protocols, ranks_file=folder / RANKS)
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
        "chosen_on_validation": chosen,
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
    """Loads a run: its config, its data and its best checkpoint, which gives the same ranks again.

    Args:
        run (str or Path): folder of a run.
        data_path (str or None): folder of the datasets; None is the folder that the run used.
        **keys: settings of ranking that override the run's.

    Returns:
        tuple[Config, AbstractRecommender, Data]: the model in evaluation mode.

    Raises:
        FileNotFoundError: the folder holds no run, or the run has no checkpoint.
        ValueError: the checkpoint is damaged, or the data have changed since the run.
    """
    moved = {} if data_path is None else {"data_path": str(data_path)}
    config = of_run(Config(config_file_list=[saved_config(run)], config_dict={**moved, **keys}), run)
    init_seed(config["seed"], config["reproducibility"])
    plan = plan_of(config)
    data = load_data_of(config, plan)
    check_data(run, data.fingerprint)
    model = build_model(config, data.train, plan.trains_rows)
    if isinstance(model, BuiltOnTokenizers):
        model.take_fitted()  # frees the fitted tokenizers, which ranking does not need
    load_weights(model, Path(run) / BEST, config["device"])
    return config, model.eval(), data


def _config(model, dataset, config_file_list, config_dict, arguments):
    """Returns the run's config; with --resume=FOLDER the config of that run, in which a few keys may change."""
    texts = split_arguments(arguments)
    if "resume" not in texts:
        return Config(model, dataset, config_file_list, config_dict, arguments)
    others = [key for key in texts if key not in ("resume", *MAY_CHANGE)]
    if model or dataset or config_file_list or config_dict or others:
        raise ValueError(
            f"resume={texts['resume']} continues a run with its own settings, found "
            f"{', '.join(others) or 'other settings'}: leave them out (only {', '.join(MAY_CHANGE)} may change)"
        )
    return Config(config_file_list=[saved_config(texts["resume"])], arguments=arguments)


def _check_protocols(config, plan):
    """Checks protocols and metrics before any data are read."""
    modes = set(config["eval_args"]["mode"].values())
    known = metric_names(config)
    n_processes = max(config["nproc"], parallel.world_size())
    if plan.by_recbole and n_processes > 1:
        raise ValueError(f"protocol={RECBOLE} works in one process only, found {n_processes}: leave nproc at 1")
    if not plan.by_recbole:
        known.append("mrr")
        if modes != {"full"}:
            raise ValueError(
                f"eval_args mode {', '.join(sorted(modes))} is not used here: choose a protocol such as "
                f"--protocol=uni99, or --protocol=recbole for RecBole's own evaluation"
            )
    if config["valid_metric"].lower() not in known:
        raise ValueError(
            f"valid_metric={config['valid_metric']} is not among {', '.join(known)}: add it to metrics and topk"
        )


def load_data_of(config, plan):
    """Loads the run's data with our split, or with RecBole's split under protocol recbole.

    Args:
        config (Config): ours.
        plan (Plan): result of `plan_of`.

    Returns:
        Data: see `data.split`.
    """
    return load_recbole_data(config) if plan.by_recbole else load_data(config, one_row_a_user=plan.trains_rows)


@contextmanager
def _folder(config, fingerprint):
    """Yields the run's folder, with config and environment written; a lock keeps other commands out of it."""
    if config["resume"]:
        folder = Path(config["resume"])
    else:
        made = parallel.is_main() and create_run_folder(config["run_dir"], config["dataset"], config["model"])
        folder = Path(parallel.from_main(str(made)))
    with locked(folder, "resume" if config["resume"] else "run_dir") if parallel.is_main() else nullcontext():
        if not config["resume"]:
            if (folder / CONFIG).exists():
                raise ValueError(f"run_dir={folder} is already used by another command: choose another folder")
            write_environment(folder, {**environment(config["device"]), "dataset_fingerprint": fingerprint})
        write_config(folder, config.resolved)
        config["run_dir"] = str(folder)
        yield folder


def _trainer(config, model):
    return trainer_class(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)


def _how_to_continue(folder):
    kept = f"the best checkpoint so far is {folder / BEST}" if (folder / BEST).is_file() else "no epoch was finished"
    return f"stopped; {kept}; continue with: run_recbole --resume={folder}"
