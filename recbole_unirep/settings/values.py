"""Parses texts after ``--key=`` and strings in a config_dict into values, without eval."""

import ast

import yaml

# Keys whose values are names, paths or intervals: '2014' is a dataset's name, '[5,10]' an interval, not a list.
TEXT_KEYS = {
    "backbone",
    "config_files",
    "data_path",
    "dataset",
    "entity_kg_num_interval",
    "gpu_id",
    "item_inter_num_interval",
    "model",
    "preset",
    "relation_kg_num_interval",
    "resume",
    "semantic_ids",
    "collisions",
    "run_dir",
    "text_dir",
    "text_encoder",
    "tokenizer",
    "user_inter_num_interval",
}
PLAIN = (bool, int, float, str, list, tuple, dict, type(None))


def parse_value(key, text, loader):
    """Parses text into a value.

    Tries a Python literal first, as RecBole's command line does (None, tuples, dicts with None, quoted text); then
    YAML, as RecBole's config files do (true, ~, lists of bare words; yes, no, on and off are booleans). Otherwise the
    value is the text itself (names, paths, '[5,inf)').

    Args:
        key (str): name of the key; values of TEXT_KEYS stay text.
        text (str): text to parse.
        loader (type): RecBole's YAML loader.

    Returns:
        bool, int, float, str, list, tuple, dict or None: the value.
    """
    value = _literal(text, loader)
    if key == "text_encoder" and isinstance(value, list):  # several encoders
        return value
    if key in TEXT_KEYS and value is not None and not isinstance(value, str):
        return text
    return value


def _literal(text, loader):
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = _yaml_literal(text, loader)
    return value if isinstance(value, PLAIN) else text


def _yaml_literal(text, loader):
    try:
        value = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError):
        return text
    # Python reads numbers: YAML reads 010 as 8 and 1:30 as 90. Other texts stay whole: YAML cuts 'a #b' and drops ''.
    return value if isinstance(value, (bool, list, dict)) or (value is None and text.strip()) else text
