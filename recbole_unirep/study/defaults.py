"""recbole_unirep.study.defaults: default contents of tables; imports nothing, so --help stays fast."""

METRICS = ["hit@5", "ndcg@5", "hit@10", "ndcg@10", "mrr"]  # as in the paper
PROTOCOLS = ["uni99", "full", "full_unseen"]
