"""recbole_unirep.commands.options: options of a command that reads a run, `--key=value`, `--key value` or `--flag`."""

SETTINGS = ("num_beams", "exact_ranking", "scores_at_once", "eval_batch_size", "use_gpu", "gpu_id")  # of ranking


def read_options(command, arguments, values, flags=(), settings=()):
    """Texts of the options.

    Args:
        command (str): whose they are, for the message.
        arguments (sequence of str): what stands behind the command and its folder.
        values (sequence of str): keys that take a value, behind '=' or a blank.
        flags (sequence of str): keys that take none.
        settings (sequence of str): further keys with a value, which the message does not list.

    Returns:
        dict[str, str]: '' or 'true' of flags.

    Raises:
        ValueError: an option is not known, empty, or given twice.
    """
    options, left = {}, iter(arguments)
    for argument in left:
        name, equals, text = argument.partition("=")
        key = name[2:].replace("-", "_")
        if not name.startswith("--") or key not in (*flags, *values, *settings, "debug"):
            known = ", --".join(name.replace("_", "-") if name in flags else name for name in (*flags, *values))
            raise ValueError(f"{command}: '{argument}' is not understood: known are --{known}")
        if key in flags:
            if equals and text.lower() != "true":
                raise ValueError(f"{command}: {name} takes no value, '{text}' is given: leave it out")
        elif not equals:
            text = next(left, "")
        if not text.strip() and key not in flags:
            raise ValueError(f"{command}: {name} is empty: write {name}=..")
        if key in options:
            raise ValueError(f"{command}: {name} is given twice: give it once")
        options[key] = text
    return options
