"""Parts that models are built from: item embeddings, fusion, code embeddings, T5 blocks."""
