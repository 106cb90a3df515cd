"""recbole_unirep.commands.import_recbole: a checkpoint that RecBole itself pickled becomes a run of ours, ranked anew.

The pickle is opened once, behind the flag; the run's files are tensors and plain values.
"""

import pickle
import warnings
from pathlib import Path

import torch
from recbole.utils import get_trainer, init_seed

from recbole_unirep.compat import workarounds
from recbole_unirep.compat.pickle_guard import FLAG, refusal
from recbole_unirep.config import Config, find_model
from recbole_unirep.files.lock import locked
from recbole_unirep.files.whole import write_json, write_yaml
from recbole_unirep.model.build import build_model
from recbole_unirep.quick_start import load_data_of, plan_of, run_recbole
from recbole_unirep.runs.environment import environment
from recbole_unirep.runs.folder import IMPORT, LAST, create_run_folder
from recbole_unirep.scoring.protocols import RECBOLE
from recbole_unirep.settings.known_keys import general_keys, keys_of_class, special_keys
from recbole_unirep.settings.values import PLAIN, split_arguments
from recbole_unirep.training.pretraining import check_stage
from recbole_unirep.training.recbole_trainers import trainer_class

# What a checkpoint's config says of a machine, or of how it was evaluated.
NOT_TAKEN = {
    "checkpoint_dir", "config_file", "data_path", "dataloaders_save_path", "dataset_save_path", "debug", "eval_args",
    "gpu_id", "local_rank", "log_wandb", "metric_decimal_place",
    "metrics", "nproc", "offset", "repeatable", "save_dataloaders", "save_dataset",
    "show_progress", "state", "topk", "use_gpu", "valid_metric", "valid_metric_bigger", "wandb_project", "worker",
    "world_size", "ip", "port", "group_offset", "device", "eval_batch_size", "train_batch_size",
    "train_neg_sample_args", "shuffle",
}  # fmt: skip
OWN = ("run_dir", "debug", FLAG)


def import_recbole(arguments):
    """Makes a run folder of a checkpoint, and ranks the test items by it.

    Args:
        arguments (sequence of str): the file, then `--unsafe_pickle=True`, `--run_dir=..`, `--data_path=..`,
            `--protocol=..` and further settings, stronger than those in the file.

    Returns:
        dict: what result.json holds.

    Raises:
        ValueError: the flag is missing, or the file is no checkpoint of RecBole that fits the data.
        FileNotFoundError: there is no such file, or no such dataset.
    """
    if not arguments or arguments[0].startswith("--"):
        raise ValueError(f"import-recbole reads a checkpoint: write {IMPORT} FILE.pth --{FLAG}=True, the file first")
    workarounds.apply()
    path, given = Path(arguments[0]), split_arguments(arguments[1:])
    saved = _opened(path, given)
    kept = _settings(path, saved["config"])
    texts = [f"--{key}={text}" for key, text in given.items() if key not in OWN]
    config = Config(config_dict=kept, arguments=texts)
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
    folder = create_run_folder(given.get("run_dir"), config["dataset"], config["model"])
    with locked(folder, "run_dir"):
        facts = {**environment(config["device"]), "dataset_fingerprint": data.fingerprint}
        write_json(folder / "environment.json", {**facts, "imported_from": path.name})
        write_yaml(folder / "config.yaml", {**config.resolved, "run_dir": None, "resume": None, FLAG: False})
        config["run_dir"] = str(folder)
        trainer = trainer_class(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)
        trainer.has_stopped = True  # there is nothing to train
        epoch = int(saved.get("epoch", 0))
        trainer._save_checkpoint(epoch)
        trainer._save_last(epoch, data.train_data, folder / LAST)
        trainer.epoch_log.close()
    return run_recbole(arguments=[f"--resume={folder}"])


def _opened(path, given):
    """The checkpoint's dict."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name a checkpoint that RecBole saved, saved/MODEL-TIME.pth")
    if given.get(FLAG, "").lower() != "true":
        raise refusal(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = torch.load(path, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ImportError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} can't be read as a checkpoint ({reason}): restore it") from error
    if not isinstance(saved, dict) or not {"config", "state_dict"} <= saved.keys():
        raise ValueError(f"{path} is no checkpoint of RecBole, which holds config and state_dict: name another file")
    return saved


def _settings(path, config):
    """The settings in a checkpoint that a run here takes over."""
    try:
        found, model = dict(config.final_config_dict), config.model
    except AttributeError as error:
        raise ValueError(f"{path} holds no config of RecBole: name another file") from error
    known = (general_keys() | special_keys() | keys_of_class(find_model(str(model)))) - NOT_TAKEN
    kept = {key: value for key, value in found.items() if key in known and isinstance(value, PLAIN)}
    return {**kept, "model": str(model), "dataset": str(config.dataset)}
