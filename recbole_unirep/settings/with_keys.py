"""Copies a config with changed keys."""

import copy


def with_keys(config, **changes):
    """Returns a copy of a config with some keys changed.

    Args:
        config (Config): RecBole's or ours.
        **changes: new values by key.

    Returns:
        Config: same class; the given config is not changed.
    """
    changed = copy.copy(config)
    changed.final_config_dict = {**config.final_config_dict, **changes}
    return changed
