"""recbole_unirep.study.trials: the trials of one model, suggested, pruned and stored by optuna.

Suggestions depend only on the seed and the finished trials. A study that was killed and started again therefore makes
the same suggestions as an uninterrupted one.

Reference:
    Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", KDD 2019, arXiv 1907.10902.
    Suggestions: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011 (TPE, after ten random
        trials). Importance: Hutter et al., "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014.
"""

import numpy as np

try:
    import optuna
    from optuna.trial import TrialState
except ImportError as error:
    raise ImportError(
        f"unirep tune needs optuna ({error}): install it with pip install 'recbole-unirep[tune]'"
    ) from error

from recbole_unirep.study.search_space import label_of

TRIALS_BEFORE_PRUNING = 5
TRIALS_FOR_IMPORTANCE = 10
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class Trials:
    """The trials of one model.

    Args:
        file (Path): SQLite file, which may hold the trials of other models too.
        model (str): name of the model.
        space (dict[str, Lever]): levers by key.
        seed (int): seed of the suggestions.
        bigger (bool): True if a bigger score is better.
        prune_after (int): number of first epochs without pruning.
    """

    def __init__(self, file, model, space, *, seed, bigger, prune_after):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space, self.seed, self.bigger = space, seed, bigger
        self.study = optuna.create_study(
            storage=optuna.storages.RDBStorage(f"sqlite:///{file}"),
            study_name=model,
            direction="maximize" if bigger else "minimize",
            pruner=optuna.pruners.MedianPruner(TRIALS_BEFORE_PRUNING, prune_after),
            load_if_exists=True,
        )

    def finished(self):
        """Returns the finished trials in order.

        Returns:
            list[dict]: `trial` (from 1), `state` ('complete', 'pruned' or 'failed'), `keys` (dict) and the facts
            given to `Trial.finish`.
        """
        queued_again = self._queued_again()
        return [
            {"state": STATES[trial.state], "keys": self._keys(trial.params), **trial.user_attrs["facts"]}
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state.is_finished() and "facts" in trial.user_attrs and trial.number not in queued_again
        ]

    def best(self):
        """Returns the complete trial with the best score, as in `finished`, or None."""
        complete = [trial for trial in self.finished() if trial["state"] == "complete"]
        sign = 1 if self.bigger else -1
        return max(complete, key=lambda trial: sign * trial["valid_score"], default=None)

    def best_of(self, scores):
        """Returns the best of some scores."""
        return max(scores) if self.bigger else min(scores)

    def start(self):
        """Starts the next trial: an interrupted one with its settings, else a new one.

        Returns:
            Trial: it runs until `finish` is called.
        """
        self._queue_interrupted()
        n_finished = len(self.finished())
        seed = int(np.random.SeedSequence([self.seed, n_finished]).generate_state(1)[0])
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=False)
        trial = self.study.ask()
        for key, lever in self.space.items():
            if lever.kind == "choice":
                trial.suggest_categorical(key, [label_of(value) for value in lever.values])
            elif lever.kind == "int":
                trial.suggest_int(key, *lever.values)
            else:
                trial.suggest_float(key, *lever.values, log=lever.kind == "loguniform")
        return Trial(self.study, trial, n_finished + 1, self._keys(trial.params))

    def importance(self):
        """Computes the fraction of the score's variance over complete trials that each key explains, by fANOVA.

        Returns:
            dict[str, float]: fractions by key, largest first; empty with fewer than TRIALS_FOR_IMPORTANCE complete
                trials, or if all have the same score.
        """
        scores = [trial["valid_score"] for trial in self.finished() if trial["state"] == "complete"]
        if len(scores) < TRIALS_FOR_IMPORTANCE or len(set(scores)) == 1:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.seed)
        return optuna.importance.get_param_importances(self.study, evaluator=evaluator)

    def _queued_again(self):
        """Numbers of interrupted trials that were queued again."""
        return {trial.user_attrs.get("continues") for trial in self.study.get_trials(deepcopy=False)}

    def _queue_interrupted(self):
        """Queues trials of a killed process again with their settings; drops trials with incomplete settings."""
        queued_again = self._queued_again()
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if trial.number not in queued_again and trial.params.keys() == self.space.keys():
                self.study.enqueue_trial(trial.params, user_attrs={"continues": trial.number})
            self.study.tell(trial.number, state=TrialState.FAIL)

    def _keys(self, parameters):
        """Converts parameters of optuna to settings of a run, in the order of the space."""
        choices = {
            key: {label_of(value): value for value in lever.values}
            for key, lever in self.space.items()
            if lever.kind == "choice"
        }
        return {
            key: choices[key][parameters[key]] if key in choices else parameters[key]
            for key in self.space
            if key in parameters
        }


class Trial:
    """A running trial.

    Attributes:
        number (int): number of the trial of the model, from 1.
        keys (dict): settings of the trial.
    """

    def __init__(self, study, trial, number, keys):
        self.study, self.trial, self.number, self.keys = study, trial, number, keys
        self.scores = {}  # epoch to validation score

    def report(self, epoch, score):
        """Reports the validation score of an epoch.

        Args:
            epoch (int): epoch, from 0.
            score (float): validation score; an epoch that is trained again after an interruption reports the same
                score.

        Returns:
            bool: True if the trial should end because its best score is worse than the median of the other trials
            at that epoch.
        """
        if epoch not in self.scores:
            self.scores[epoch] = score
            self.trial.report(score, epoch)
        return self.trial.should_prune()

    def finish(self, state, **facts):
        """Ends the trial.

        Args:
            state (str): 'complete' (needs a `valid_score`), 'pruned' or 'failed'.
            facts: plain values to store.
        """
        self.trial.set_user_attr("facts", {"trial": self.number, **facts})
        (known,) = (known for known, name in STATES.items() if name == state)
        self.study.tell(self.trial, facts["valid_score"] if state == "complete" else None, state=known)
