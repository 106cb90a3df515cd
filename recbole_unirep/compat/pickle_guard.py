"""recbole_unirep.compat.pickle_guard: RecBole's code may unpickle only files of this process, unless allowed.

RecBole 1.2.1 pickles its Config into every checkpoint. It reads such files with calls that run any code in the pickle:
pre_model_path of S3Rec, RaCT and ConvNCF, pretrain_path of NAIS, both paths of NeuMF, warm_up of KD_DAGFM, item_emb.npy
of LDiffRec. Since torch 2.6, loading the checkpoints of RecBole's own Trainer fails:
https://github.com/RUCAIBox/RecBole/issues/2212, https://github.com/RUCAIBox/RecBole/issues/2215.
Drop when RecBole writes tensors and plain values.

torch and numpy are imported inside the functions, because this module is imported before anything heavy.
"""

import functools
import os
import pickle
import sys
import warnings
from contextlib import contextmanager

FLAG = "unsafe_pickle"
_allowed = [False]
_written = {}  # path -> size and modification time of files that RecBole's code has saved in this process


@contextmanager
def pickles(are_allowed):
    """Allows or forbids, within the block, that RecBole's code unpickles files of other processes.

    Args:
        are_allowed (bool): value of the user's key unsafe_pickle.
    """
    _allowed.append(bool(are_allowed))
    try:
        yield
    finally:
        _allowed.pop()


def allow_by_default():
    """Allows RecBole's code to unpickle any file from now on, except within `pickles(False)` blocks."""
    _allowed[0] = True


def guard():
    """Installs the guard in torch.load and numpy.load. Calls from packages other than RecBole are not affected."""
    import numpy
    import torch

    torch.save = _remembering(torch.save)
    torch.load = _guarded_torch(torch.load)
    numpy.load = _guarded_numpy(numpy.load)


def _remembering(save):
    @functools.wraps(save)
    def remember(state, file, *args, **kwargs):
        save(state, file, *args, **kwargs)
        if _is_recbole(sys._getframe(1)) and isinstance(file, (str, os.PathLike)):
            _written[os.path.realpath(file)] = _stamp(file)

    return remember


def _guarded_torch(load):
    @functools.wraps(load)
    def load_guarded(file, *args, **kwargs):
        if not _is_recbole(sys._getframe(1)) or "weights_only" in kwargs:
            return load(file, *args, **kwargs)
        runs_pickles = _allowed[-1] or _is_ours(file)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns about pickle protocol 4 before it refuses the file
                return load(file, *args, weights_only=not runs_pickles, **kwargs)
        except pickle.UnpicklingError as error:
            if not runs_pickles:
                raise refusal(file) from error
            raise ValueError(f"{file} is not a readable checkpoint ({_line(error)}): restore it") from error
        except (RuntimeError, EOFError) as error:
            raise ValueError(f"{file} is not a readable checkpoint ({_line(error)}): restore it") from error

    return load_guarded


def _guarded_numpy(load):
    @functools.wraps(load)
    def load_guarded(file, *args, **kwargs):
        if not _is_recbole(sys._getframe(1)) or _allowed[-1]:
            return load(file, *args, **kwargs)
        try:
            return load(file, *args, **{**kwargs, "allow_pickle": False})
        except ValueError as error:
            raise refusal(file) from error

    return load_guarded


def refusal(file):
    """Returns the error for a file that can only be read by unpickling.

    Args:
        file (str or Path): path of the file.

    Returns:
        ValueError: one line.
    """
    return ValueError(
        f"{file} holds more than tensors and plain values (RecBole pickles its checkpoints), and reading it would run "
        f"any code in it: if you trust its source, add --{FLAG}=True"
    )


def _is_recbole(frame):
    return frame.f_globals.get("__name__", "").startswith("recbole.")


def _is_ours(file):
    """True if RecBole's code wrote this file in this process and it has not changed since."""
    if not isinstance(file, (str, os.PathLike)) or not os.path.isfile(file):
        return False
    return _written.get(os.path.realpath(file)) == _stamp(file)


def _stamp(file):
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns


def _line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
