"""recbole_unirep.study.defaults: what tables show if nothing else is asked for; imports nothing, so --help can."""

METRICS = ["hit@5", "ndcg@5", "hit@10", "ndcg@10", "mrr"]  # the paper's
PROTOCOLS = ["uni99", "full", "full_unseen"]
