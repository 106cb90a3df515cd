"""Layers of defaults between RecBole's keys and the user's.

Weakest first: overall, model, backbone, tokenizer, dataset, preset. properties/joint has what this model changes in the
keys of a backbone or tokenizer. A model class may build on the yaml files of other models: it names them in
`base_settings`, a tuple of str, weakest first.
"""

from collections import ChainMap

from recbole.utils import InputType, ModelType

from recbole_unirep.settings.dataset_columns import FEATURE_KEYS, columns_layer, features_layer, interaction_file
from recbole_unirep.settings.extensions import extension_names, find_extension
from recbole_unirep.settings.known_keys import RECBOLE, is_extension, keys_of_class, recbole_models
from recbole_unirep.settings.nearest import nearest
from recbole_unirep.settings.parts import part_file, part_names, read_keys
from recbole_unirep.settings.shipped import shipped_file, shipped_names

UNIFORM_NEGATIVES = {"distribution": "uniform", "sample_num": 1}
RECBOLE_LOSSES = ("CE", "BPR")


def lay_defaults(config, model, model_class, dataset, fitted):
    """Puts our defaults over RecBole's in ``config.internal_config_dict``.

    The user's keys stay in ``config.external_config_dict``; they only choose preset, tokenizer and backbone here.

    Args:
        config (recbole Config): RecBole's or ours, with loaded internal keys.
        model (str): name of the model.
        model_class (type): its class.
        dataset (str): name of the dataset.
        fitted (callable or None): `fitted_defaults` of the model class, without its argument `has_rows`.

    Returns:
        tuple: keys of model, backbone and tokenizer (set of str), and lines for the log (list of str).

    Raises:
        ValueError: a preset, tokenizer, backbone or dataset is unknown, or a column is missing.
        FileNotFoundError: the dataset's folder has no interactions.
    """
    user, internal, loader = config.external_config_dict, config.internal_config_dict, config.yaml_loader
    overall = _read(shipped_file("overall.yaml"), loader)
    own = _model_layer(model_class, loader)
    settings = ChainMap(user, overall, internal)
    data, data_for_model, notes = _dataset_layer(settings, model, model_class, dataset, loader)
    # Keeps the other files that RecBole loads for a kind of model, such as a knowledge graph.
    data["load_col"] = {**internal["load_col"], **data.get("load_col", {})}
    data.update(data_for_model)
    preset = _preset_layer(ChainMap(user, data, own, overall)["preset"], model, dataset, loader)

    chosen = ChainMap(user, preset, data, own, overall)
    behaviour = chosen.get("behaviour_field")
    if behaviour and behaviour not in data["load_col"]["inter"]:
        data["load_col"]["inter"] = [*data["load_col"]["inter"], behaviour]
    backbone, tokenizer, joint = {}, {}, {}
    if "backbone" in own:
        backbone = _backbone_layer(chosen["backbone"], loader)
        joint.update(_read(shipped_file("joint", f"{model}.{chosen['backbone']}.yaml"), loader))
    if "tokenizer" in own:
        tokenizer = _named_layer("tokenizer", chosen["tokenizer"], loader)
        joint.update(_read(shipped_file("joint", f"{model}.{chosen['tokenizer']}.yaml"), loader))
    # The backbone's keys, such as RecBole's loss_type, never overwrite keys of the model.
    filling = {key: value for key, value in backbone.items() if key not in own}

    recbole_model = _read(RECBOLE / "properties" / "model" / f"{model}.yaml", loader)
    for layer in (overall, own, filling, tokenizer, joint, data, preset):
        internal.update(layer)
    if fitted is not None:
        changed, lines = fitted(user, ChainMap(user, internal))
        internal.update(changed)
        notes = [*notes, *lines]
    internal.update(_loss_layer(ChainMap(user, internal), model_class))
    return keys_of_class(model_class).union(own, backbone, tokenizer, recbole_model), notes


def _read(file, loader):
    """Reads the keys of a yaml file; a missing file has none."""
    return read_keys(file, loader) if file.is_file() else {}


def _model_layer(model_class, loader):
    """Keys of a class's yaml, over the keys of the yaml files in its `base_settings` and of its base classes."""
    layer = {}
    for base in reversed(model_class.__mro__):
        for name in vars(base).get("base_settings", ()):
            layer.update(_read(part_file("model", name), loader))
        if is_extension(base):
            kind = "model" if base.__name__ in extension_names("model") else "backbone"
            layer.update(_read(part_file(kind, base.__name__), loader))
        else:
            layer.update(_read(shipped_file("model", f"{base.__name__}.yaml"), loader))
    return layer


def _named_layer(kind, name, loader):
    if name not in part_names(kind):
        raise ValueError(f"{kind} '{name}' is unknown: {nearest(name, part_names(kind))}")
    return read_keys(part_file(kind, name), loader)


def _preset_layer(name, model, dataset, loader):
    """Keys of a model's preset, properties/preset/MODEL.NAME.yaml, with those of its section for the dataset."""
    if name is None:
        return {}
    names = [stem.removeprefix(f"{model}.") for stem in shipped_names("preset") if stem.startswith(f"{model}.")]
    if not names:
        raise ValueError(f"preset '{name}' is asked for, {model} has none: leave it out")
    if name not in names:
        raise ValueError(f"preset '{name}' is unknown: {nearest(name, names)}")
    keys = _read(shipped_file("preset", f"{model}.{name}.yaml"), loader)
    sections = {section: keys.pop(section) for section in shipped_names("dataset") & keys.keys()}
    return {**keys, **sections.get(dataset, {})}


def _backbone_layer(name, loader):
    """Keys of the backbone: from this or another package's yaml, over RecBole's."""
    find_extension("backbone", name, is_taken=name in recbole_models())
    known = recbole_models().keys() | set(part_names("backbone"))
    if name not in known:
        raise ValueError(f"backbone '{name}' is unknown: {nearest(name, known)}")
    recbole = _read(RECBOLE / "properties" / "model" / f"{name}.yaml", loader)
    return {**recbole, **_read(part_file("backbone", name), loader)}


def _dataset_layer(settings, model, model_class, dataset, loader):
    """Keys of the dataset from its yaml or columns, those for this model only, and lines for the log."""
    file = interaction_file(dataset, settings)
    if dataset in shipped_names("dataset"):
        keys = _read(shipped_file("dataset", f"{dataset}.yaml"), loader)
        models = recbole_models().keys() | shipped_names("model")
        layer = {key: value for key, value in keys.items() if key not in models}
        for_model, notes = keys.get(model, {}), []
    else:
        layer, note = columns_layer(dataset, file, settings)
        for_model, notes = {}, [note]
    feature_keys = keys_of_class(model_class).intersection(FEATURE_KEYS)
    if feature_keys or (model_class.type == ModelType.CONTEXT and not for_model):
        named = ChainMap(settings.maps[0], for_model, dict.fromkeys(FEATURE_KEYS), settings)
        features = features_layer(dataset, file, named, feature_keys)
        columns = {**layer["load_col"], **for_model.get("load_col", {}), **features.pop("load_col", {})}
        for_model = {**for_model, **features, "load_col": columns}
    return layer, for_model, notes


def _loss_layer(settings, model_class):
    """Negatives and input type that the loss needs.

    RecBole refuses negatives with CE in a sequential model, and knows the input type of CE and BPR only. SSM draws its
    own negatives.
    """
    loss, sequential = settings.get("loss_type"), model_class.type == ModelType.SEQUENTIAL
    layer = {"train_neg_sample_args": None if sequential and loss in ("CE", "SSM") else dict(UNIFORM_NEGATIVES)}
    if loss not in RECBOLE_LOSSES:
        layer["MODEL_INPUT_TYPE"] = InputType.PAIRWISE
    return layer
