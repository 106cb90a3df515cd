"""recbole_unirep.study.recbole_checkpoint: turns a pickled RecBole checkpoint into a run, ranked again.

The pickle is loaded once, and only if `unsafe_pickle` allows it. The files of the run are tensors and plain values.
"""

import pickle
import warnings
from pathlib import Path

import torch
from recbole.utils import get_trainer, init_seed

from recbole_unirep.compat import workarounds
from recbole_unirep.compat.pickle_guard import refusal
from recbole_unirep.config import Config, find_model
from recbole_unirep.files.lock import locked
from recbole_unirep.model.build import build_model
from recbole_unirep.quick_start import load_data_of, plan_of, run_recbole
from recbole_unirep.runs.environment import environment
from recbole_unirep.runs.folder import LAST, create_run_folder, write_config, write_environment
from recbole_unirep.scoring.protocols import RECBOLE
from recbole_unirep.settings.arguments import join_arguments
from recbole_unirep.settings.known_keys import general_keys, keys_of_class, special_keys
from recbole_unirep.settings.values import PLAIN
from recbole_unirep.training.pretraining import check_stage
from recbole_unirep.training.recbole_trainers import trainer_class

# Config keys of a checkpoint that describe its machine or its evaluation.
NOT_TAKEN = {
    "checkpoint_dir", "config_file", "data_path", "dataloaders_save_path", "dataset_save_path", "debug", "eval_args",
    "gpu_id", "local_rank", "log_wandb", "metric_decimal_place",
    "metrics", "nproc", "offset", "repeatable", "save_dataloaders", "save_dataset",
    "show_progress", "state", "topk", "use_gpu", "valid_metric", "valid_metric_bigger", "wandb_project", "worker",
    "world_size", "ip", "port", "group_offset", "device", "eval_batch_size", "train_batch_size",
    "train_neg_sample_args", "shuffle",
}  # fmt: skip


def import_checkpoint(path, unsafe_pickle, run_dir, keys):
    """Turns a checkpoint into a run folder and ranks the test items with it.

    Args:
        path (str or Path): the checkpoint.
        unsafe_pickle (bool): True allows unpickling, which runs any code in the file.
        run_dir (str or None): folder of the run; None makes a new one under runs/.
        keys (dict[str, str]): config keys as texts; they override those in the file.

    Returns:
        dict: content of result.json.

    Raises:
        ValueError: unpickling is not allowed, or the file is not a RecBole checkpoint that fits the data.
        FileNotFoundError: the file or the dataset does not exist.
    """
    workarounds.apply()
    path = Path(path)
    saved = _read_checkpoint(path, unsafe_pickle)
    config = Config(config_dict=_kept_keys(path, saved["config"]), arguments=join_arguments(keys))
    check_stage(config)
    init_seed(config["seed"], config["reproducibility"])
    plan = plan_of(config)
    data = load_data_of(config, plan)
    model = build_model(config, data.train, plan.trains_rows)
    try:
        model.load_state_dict(saved["state_dict"])
        model.load_other_parameter(saved.get("other_parameter"))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{path} does not fit dataset {config['dataset']} as it is read here ({reason}): name its data_path, or "
            f"give --protocol={RECBOLE}, which reads as RecBole does"
        ) from error
    folder = create_run_folder(run_dir, config["dataset"], config["model"])
    with locked(folder, "run_dir"):
        facts = {**environment(config["device"]), "dataset_fingerprint": data.fingerprint}
        write_environment(folder, {**facts, "imported_from": path.name})
        write_config(folder, config.resolved)
        config["run_dir"] = str(folder)
        trainer = trainer_class(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)
        trainer.has_stopped = True  # nothing is trained
        epoch = int(saved.get("epoch", 0))
        trainer._save_checkpoint(epoch)
        trainer._save_last(epoch, data.train_data, folder / LAST)
        trainer.epoch_log.close()
    return run_recbole(arguments=[f"--resume={folder}"])


def _read_checkpoint(path, unsafe_pickle):
    """Loads the dict of a checkpoint."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name a checkpoint that RecBole saved, saved/MODEL-TIME.pth")
    if not unsafe_pickle:
        raise refusal(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = torch.load(path, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ImportError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} can't be read as a checkpoint ({reason}): restore it") from error
    if not isinstance(saved, dict) or not {"config", "state_dict"} <= saved.keys():
        raise ValueError(f"{path} is not a checkpoint of RecBole, which holds config and state_dict: name another file")
    return saved


def _kept_keys(path, config):
    """Config keys of a checkpoint that the run keeps."""
    try:
        found, model = dict(config.final_config_dict), config.model
    except AttributeError as error:
        raise ValueError(f"{path} has no config of RecBole: name another file") from error
    known = (general_keys() | special_keys() | keys_of_class(find_model(str(model)))) - NOT_TAKEN
    kept = {key: value for key, value in found.items() if key in known and isinstance(value, PLAIN)}
    return {**kept, "model": str(model), "dataset": str(config.dataset)}
