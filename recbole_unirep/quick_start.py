"""recbole_unirep.quick_start: one run, start to end.

`run_recbole` reads from top to bottom: config, data, model, training, ranking, result.
"""

import json
import resource
import sys
from logging import getLogger
from pathlib import Path
from time import perf_counter

import torch
from recbole.utils import get_trainer, init_seed
from tabulate import tabulate

from recbole_unirep.config import Config
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.data.split import load_data
from recbole_unirep.model import MODELS
from recbole_unirep.model.backbone import with_keys
from recbole_unirep.run_folder import RunLog, create_run_folder, environment, write_json, write_yaml
from recbole_unirep.training.causal import CAUSAL
from recbole_unirep.training.evaluation import PROTOCOLS, metrics_of
from recbole_unirep.training.losses import is_row_loss
from recbole_unirep.training.optimization import check_optimization
from recbole_unirep.training.trainer import BEST, LAST, load_weights, trainer_class
from recbole_unirep.values import split_arguments

MAY_CHANGE = ("epochs", "stopping_step", "show_progress", "use_gpu", "gpu_id", "debug")  # when a run is resumed


def run_recbole(model=None, dataset=None, config_file_list=None, config_dict=None, arguments=()):
    """Trains a model, chooses its checkpoint on validation, ranks it under every protocol and leaves a run folder.

    Args:
        model (str or None): name of one of our models or RecBole's.
        dataset (str or None): name of a dataset.
        config_file_list (list[str] or None): YAML files.
        config_dict (dict or None): settings, stronger than the files.
        arguments (sequence of str): `--key=value`, stronger than config_dict.

    Returns:
        dict: what result.json holds; `test_result` by protocol.

    Raises:
        ValueError: a setting or a file that can't be used; nothing has been written then.
        FileNotFoundError: a file that is missing.
    """
    started = perf_counter()
    with RunLog() as log:
        config = _config(model, dataset, config_file_list, config_dict, arguments)
        for note in config.notes if not config["resume"] else ():
            getLogger().info(note)
        if trains_rows(config) and "train_batch_size" in config.external_config_dict and not config["resume"]:
            getLogger().info(f"train_batch_size is not used by {config['model']} in rows of users: users_per_batch is")
        protocols = _protocols(config)
        init_seed(config["seed"], config["reproducibility"])
        data = load_data(config, one_row_a_user=trains_rows(config))
        hash_of_candidates = data.test.candidates_hash if "uni99" in protocols else None
        init_seed(config["seed"], config["reproducibility"])
        model = build_model(config, data.train)

        folder = _folder(config, data.fingerprint)
        log.write_to(folder)
        trainer = _trainer(config, model)
        try:
            if config["train_stage"] == "pretrain" and hasattr(trainer, "pretrain"):
                trainer = _pretrain(config, data, trainer)
            if config["resume"] and (folder / LAST).is_file():
                trainer.resume(data.train_data)
            best_score, best_result = trainer.fit(data.train_data, data.valid, show_progress=config["show_progress"])
            test_result = trainer.evaluate(data.test, protocols=protocols)
        except KeyboardInterrupt:
            getLogger().info(_how_to_continue(folder))
            raise
        result = {
            "model": config["model"],
            "dataset": config["dataset"],
            "seed": config["seed"],
            "best_valid_score": best_score,
            "valid_score_bigger": config["valid_metric_bigger"],
            "best_valid_result": best_result,
            "best_epoch": trainer.best_epoch,
            "test_result": test_result,
            **_measures(trainer.model),
            "train_seconds": round(trainer.train_seconds, 3),
            "seconds": round(perf_counter() - started, 3),
            "peak_memory_bytes": _peak_memory(config["device"]),
            "dataset_fingerprint": data.fingerprint,
            "candidates_hash": hash_of_candidates,
        }
        write_json(folder / "result.json", result)
        getLogger().info(_table(result, folder))
    return result


def load_data_and_model(run):
    """Reads a run back: the same data, the chosen checkpoint, ranking identically.

    Args:
        run (str or Path): folder of a run.

    Returns:
        tuple[Config, AbstractRecommender, Data]: the model in evaluation mode.

    Raises:
        FileNotFoundError: the folder holds no run, or one without a checkpoint.
        ValueError: the checkpoint is damaged, or the data have changed since.
    """
    config = Config(config_file_list=[_saved_config(run)])
    init_seed(config["seed"], config["reproducibility"])
    data = load_data(config, one_row_a_user=trains_rows(config))
    _check_data(run, data.fingerprint)
    model = build_model(config, data.train)
    load_weights(model, Path(run) / BEST, config["device"])
    return config, model.eval(), data


def embed(arguments):
    """Makes the item text embeddings of a dataset, or finds them again.

    Args:
        arguments (sequence of str): `--dataset=..`, `--text_encoder=..` and further keys.

    Returns:
        ItemText: the vectors, aligned with RecBole's numbering.
    """
    with RunLog():
        config = _config("UniRep", None, None, None, arguments)
        return load_item_text(config, create_dataset(config))


def trains_rows(config):
    """Whether one row a user trains this model: it is causal, and the user has not asked for prefixes."""
    if config["training_rows"] not in ("user", "prefix"):
        raise ValueError(f"training_rows={config['training_rows']} is not known: choose user or prefix")
    reader = config["backbone"] if config["model"] in MODELS else config["model"]
    return config["training_rows"] == "user" and reader in CAUSAL


def build_model(config, dataset):
    """The model on its device.

    Args:
        config (Config): ours.
        dataset (recbole Dataset): the training part.

    Returns:
        recbole AbstractRecommender: one of ours or RecBole's.
    """
    in_rows = is_row_loss(config["model"], config["loss_type"], trains_rows(config))  # RecBole knows CE and BPR only
    changed = with_keys(config, loss_type="CE") if in_rows and config["model"] not in MODELS else config
    try:
        model = config.model_class(changed, dataset).to(config["device"])
    except (NotImplementedError, AssertionError) as error:  # RecBole's way to refuse an option
        raise ValueError(
            f"{config['model']} refuses its settings (loss_type={config['loss_type']}): {error}"
        ) from error
    check_optimization(config, model)
    getLogger().info(model)
    return model


def item_table_parameters(model):
    """Learned numbers addressed by item or by code, padding and special tokens not counted.

    Args:
        model (recbole AbstractRecommender): ours say it themselves; of RecBole's the tables with a row an item.

    Returns:
        int or None: None where no table has a row an item (FM keeps all fields in one, Pop learns none).
    """
    own = getattr(model, "item_table_parameters", None)
    if own is not None:
        return own
    tables = [part for part in model.modules() if isinstance(part, torch.nn.Embedding)]
    n_items = getattr(model, "n_items", 0)
    sizes = (n_items, n_items + 1)
    return sum((n_items - 1) * part.embedding_dim for part in tables if part.num_embeddings in sizes) or None


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
    return Config(config_file_list=[_saved_config(texts["resume"])], arguments=arguments)


def _saved_config(run):
    """The file of a run's settings."""
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no run: no config.yaml in it")
    return path


def _protocols(config):
    """Names of the protocols asked for; they and the metrics are checked before anything is read."""
    modes = set(config["eval_args"]["mode"].values())
    if modes != {"full"}:
        raise ValueError(
            f"eval_args mode {', '.join(sorted(modes))}: this command ranks by protocol, e.g. --protocol=uni99"
        )
    asked = config["protocol"] or []
    protocols = [asked] if isinstance(asked, str) else list(asked)
    for protocol in protocols:
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol={protocol} is not known: choose among {', '.join(PROTOCOLS)}")
    known = metrics_of(torch.ones(1, dtype=torch.int64), config)
    if config["valid_metric"].lower() not in known:
        raise ValueError(
            f"valid_metric={config['valid_metric']} is not among {', '.join(known)}: add it to metrics and topk"
        )
    return protocols


def _folder(config, fingerprint):
    """The run's folder, with its config and environment written."""
    if config["resume"]:
        folder = Path(config["resume"])
        _check_data(folder, fingerprint)
    else:
        folder = create_run_folder(config["run_dir"], config["dataset"], config["model"])
        write_yaml(folder / "config.yaml", {**config.resolved, "run_dir": None})
        write_json(folder / "environment.json", {**environment(config["device"]), "dataset_fingerprint": fingerprint})
    config["run_dir"] = str(folder)
    return folder


def _check_data(folder, fingerprint):
    """Raises ValueError where the data are not those that the run was trained on."""
    path = Path(folder) / "environment.json"
    trained_on = json.loads(path.read_text(encoding="utf-8"))["dataset_fingerprint"]
    if trained_on != fingerprint:
        raise ValueError(
            f"{folder} was trained on data of fingerprint {trained_on[:12]}, the dataset's is {fingerprint[:12]} now: "
            f"restore the data or train anew"
        )


def _trainer(config, model):
    return trainer_class(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)


def _pretrain(config, data, trainer):
    """RecBole's S3Rec: trains its own objective first and hands its weights to the fine-tuning."""
    path = Path(config["run_dir"]) / "pretrained.pt"
    if not path.is_file():
        trainer.fit(data.train_data, show_progress=config["show_progress"])
        trainer.save_pretrained_model(trainer.pretrain_epochs, str(path))
    return _trainer(
        config, build_model(with_keys(config, train_stage="finetune", pre_model_path=str(path)), data.train)
    )


def _measures(model):
    """Sizes and codes of a trained model."""
    return {
        "codebook": model.codebook_report() if hasattr(model, "codebook_report") else {},
        "item_table_parameters": item_table_parameters(model),
        "trainable_parameters": sum(part.numel() for part in model.parameters() if part.requires_grad),
        "text_encoder": getattr(model, "text_encoder", None),
    }


def _peak_memory(device):
    """Bytes of the process at its largest, and of the GPU beside it where one is used."""
    unit = 1 if sys.platform == "darwin" else 1024
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"process": process, "gpu": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None}


def _how_to_continue(folder):
    kept = f"the best checkpoint so far is {folder / BEST}" if (folder / BEST).is_file() else "no epoch was finished"
    return f"stopped; {kept}; continue with: run_recbole --resume={folder}"


def _table(result, folder):
    """Test metrics of every protocol (validation's where there is none), and where the run lies."""
    part, by_protocol = "test", result["test_result"]
    if not by_protocol:
        part, by_protocol = "validation", {"full": result["best_valid_result"]}
    columns = list(next(iter(by_protocol.values())))
    rows = [[protocol, *(metrics[name] for name in columns)] for protocol, metrics in by_protocol.items()]
    title = f"{result['model']} on {result['dataset']}, seed {result['seed']}, {part}"
    if result["text_encoder"]:
        title += f", text encoder {result['text_encoder']}"
    item_table = result["item_table_parameters"]
    sizes = "" if item_table is None else f"item table {item_table:,} parameters, "
    sizes += f"all {result['trainable_parameters']:,} parameters"
    return f"{title}\n{tabulate(rows, headers=['protocol', *columns], floatfmt='.4f')}\n{sizes}\n{folder}"
