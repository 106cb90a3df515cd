"""k-means and rotations by faiss; no other file of the tokenizers imports it.

Reference:
    Matthijs Douze et al. "The Faiss library", arXiv:2401.08281.

Shapes: N vectors, K clusters, D dimensions.
"""

import faiss
import numpy as np
import torch
from torch import Tensor

# faiss before 1.14 has no k-means++: it starts from random points.
INITIALISATION = (
    {"init_method": faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS}
    if hasattr(faiss, "ClusteringInitMethod_KMEANS_PLUS_PLUS")
    else {}
)
POINTS_PER_CLUSTER = 4  # with fewer, further iterations gain nothing
ALL_POINTS = 2**31 - 1  # otherwise faiss subsamples the points; callers do that themselves


def kmeans(x: Tensor, n_clusters: int, iterations: int, seed: int, also_progressive: bool = False) -> Tensor:
    """Centres of k-means; the same seed and number of threads give the same centres.

    With fewer distinct points than clusters, the remaining centres are copies of the first one. They stay unused,
    since the first of equally near centres is chosen.

    Args:
        x (Tensor): points, at least one, shape: [N, D].
        n_clusters (int): K.
        iterations (int): Lloyd's iterations.
        seed (int): seed of the initial centres.
        also_progressive (bool): whether to run faiss' ProgressiveDimClustering after k-means++, if there are enough
            points. k-means++ finds well separated clusters; ProgressiveDimClustering adds principal dimensions stage by
            stage. The centres nearer to the points are kept. Takes ten times the iterations.

    Returns:
        Tensor: centres, float32, shape: [K, D].
    """
    points = _array(x)
    n_found = min(n_clusters, len(points))
    if n_found == len(points) or n_found > len(points) // 2:  # few points: duplicates are likely, and cheap to count
        n_found = min(n_clusters, len(np.unique(points, axis=0)))
    found = [_plus_plus(points, n_found, iterations, seed)]
    if also_progressive and len(points) >= max(points.shape[1], POINTS_PER_CLUSTER * n_found):
        found.append(_progressive(points, n_found, iterations, seed))
    centres = torch.from_numpy(min(found, key=lambda centres: _error(points, centres)))
    return torch.cat([centres, centres[:1].expand(n_clusters - n_found, -1)])


def _plus_plus(points, n_clusters, iterations, seed):
    clustering = faiss.Kmeans(
        points.shape[1],
        n_clusters,
        niter=iterations,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=ALL_POINTS,
        **INITIALISATION,
    )
    clustering.train(points)
    return clustering.centroids.copy()


def _progressive(points, n_clusters, iterations, seed):
    settings = faiss.ProgressiveDimClusteringParameters()
    settings.niter, settings.seed = iterations, seed
    settings.min_points_per_centroid, settings.max_points_per_centroid = 1, ALL_POINTS
    clustering = faiss.ProgressiveDimClustering(points.shape[1], n_clusters, settings)
    clustering.train(len(points), faiss.swig_ptr(points), faiss.ProgressiveDimIndexFactory())
    return faiss.vector_to_array(clustering.centroids).reshape(n_clusters, -1).copy()


def _error(points, centres):
    """Sum of the squared distances of the points to their nearest centres."""
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(centres)
    return index.search(points, 1)[0].sum(dtype=np.float64)


def rotation(x: Tensor, n_parts: int, codebook_size: int, iterations: int) -> Tensor:
    """OPQ's rotation, which makes the parts of a vector easy to quantize separately.

    Args:
        x (Tensor): points, shape: [N, D].
        n_parts (int): parts of equal width; divides D.
        codebook_size (int): codes of a part; the rotation is learned with the nearest power of 2, at most 256.
        iterations (int): how often quantizer and rotation are updated in turn.

    Returns:
        Tensor: an orthogonal matrix R, float32; x @ R.T is split into parts, shape: [D, D].
    """
    points = _array(x)
    width = points.shape[1]
    n_bits = int(np.clip(round(np.log2(codebook_size)), 1, 8))
    quantizer = faiss.ProductQuantizer(width, n_parts, min(n_bits, int(np.log2(len(points)))))
    quantizer.cp.min_points_per_centroid = 1
    learned = faiss.OPQMatrix(width, n_parts)
    learned.niter = iterations
    learned.max_train_points = len(points)
    learned.pq = quantizer
    learned.train(points)
    return torch.from_numpy(faiss.vector_to_array(learned.A).reshape(width, width).copy())


def _array(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float32)
