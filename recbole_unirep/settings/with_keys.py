"""A config with other values of some keys."""

import copy


def with_keys(config, **changes):
    """A config that differs in some keys; the given one stays as it is.

    Args:
        config (Config): RecBole's or ours.
        **changes: keys and values.

    Returns:
        Config: of the same class.
    """
    changed = copy.copy(config)
    changed.final_config_dict = {**config.final_config_dict, **changes}
    return changed
