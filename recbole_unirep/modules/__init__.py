"""Parts that models are given: item embeddings, fusion, code embeddings, T5 blocks."""
