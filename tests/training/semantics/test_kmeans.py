from __future__ import annotations

import numpy as np
import pytest

from videocups.semantics.kmeans import Clusters, KMeansConfig, _sums, find_clusters, load_clusters, sample_vectors


def blobs(seed=0, per_blob=200):
    """Four groups of directions in 3-D; returns vectors and their group."""
    rng = np.random.default_rng(seed)
    middles = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]], np.float32)
    labels = np.repeat(np.arange(4), per_blob)
    vectors = middles[labels] + rng.normal(0, 0.1, (len(labels), 3))
    return vectors.astype(np.float32), labels


def same_partition(first, second):
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    return len(pairs) == len(set(first.tolist())) == len(set(second.tolist()))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_separate_groups_are_found(metric):
    vectors, labels = blobs()
    clusters = find_clusters(vectors, KMeansConfig(classes=4, metric=metric, batch=256, steps=50))
    assert same_partition(clusters.assign(vectors), labels)


def test_cosine_ignores_length():
    vectors, labels = blobs()
    lengths = np.random.default_rng(1).uniform(0.1, 50, (len(vectors), 1)).astype(np.float32)
    clusters = find_clusters(vectors * lengths, KMeansConfig(classes=4, metric="cosine", batch=256, steps=50))
    assert same_partition(clusters.assign(vectors), labels)


def test_weights_decide_what_counts():
    rng = np.random.default_rng(0)
    vectors = rng.choice([-1.0, 1.0], (400, 2)).astype(np.float32) * [1, 1000] + rng.normal(0, 0.01, (400, 2))
    for axis in (0, 1):
        weights = np.array([1, 0.01] if axis == 0 else [0.01, 1], np.float32)
        clusters = find_clusters(vectors.astype(np.float32), KMeansConfig(classes=2, batch=200, steps=30), weights)
        assert clusters.config.metric == "euclidean"
        assert same_partition(clusters.assign(vectors.astype(np.float32)), (vectors[:, axis] > 0).astype(int))


def test_the_same_seed_gives_the_same_clusters():
    vectors, _ = blobs()
    config = KMeansConfig(classes=6, batch=64, steps=20, seed=3)
    np.testing.assert_array_equal(find_clusters(vectors, config).centers, find_clusters(vectors, config).centers)
    other = find_clusters(vectors, KMeansConfig(classes=6, batch=64, steps=20, seed=4)).centers
    assert not np.array_equal(find_clusters(vectors, config).centers, other)


def test_no_cluster_stays_empty():
    # one vector in a thousand lies apart, and half the starts are doubles
    vectors = np.repeat(blobs(per_blob=5)[0], 100, axis=0)
    clusters = find_clusters(vectors, KMeansConfig(classes=12, batch=512, steps=60, restarts=1, min_share=0.01))
    assert (np.bincount(clusters.assign(vectors), minlength=12) > 0).all()


def test_probabilities_follow_the_distance():
    centers = np.array([[1, 0], [0, 1]], np.float32)
    clusters = Clusters(centers, np.zeros(2, np.float32), np.ones(2, np.float32), 1.0, KMeansConfig(metric="cosine"))
    found = clusters.log_probs(np.array([[[3.0, 4.0]]], np.float32))[0, 0]  # cosines .6 and .8
    wanted = np.array([2 * 0.6, 2 * 0.8])
    np.testing.assert_allclose(found, wanted - np.log(np.exp(wanted).sum()), rtol=1e-5)


def test_clusters_survive_the_disk(tmp_path):
    vectors, _ = blobs()
    clusters = find_clusters(vectors, KMeansConfig(classes=4, metric="euclidean", batch=256, steps=20))
    clusters.save(tmp_path / "clusters.safetensors")
    loaded = load_clusters(tmp_path / "clusters.safetensors")
    assert loaded.config == clusters.config
    np.testing.assert_array_equal(loaded.log_probs(vectors), clusters.log_probs(vectors))


def test_the_sums_of_clusters_are_to_the_bit_those_of_one_vector_after_the_other():
    rng = np.random.default_rng(0)
    vectors, labels = rng.standard_normal((500, 7)).astype(np.float32), rng.integers(0, 5, 500)
    labels[labels == 3] = 4  # one stays empty
    wanted = np.zeros((5, 7), np.float32)
    np.add.at(wanted, labels, vectors)
    np.testing.assert_array_equal(_sums(vectors, labels, np.bincount(labels, minlength=5)), wanted)


def test_drawing_vectors_is_seeded_and_bounded():
    maps = [np.arange(24, dtype=np.float32).reshape(3, 4, 2) + 100 * n for n in range(2)]
    drawn = sample_vectors(maps, 5, seed=1)
    assert drawn.shape == (10, 2)
    np.testing.assert_array_equal(drawn, sample_vectors(maps, 5, seed=1))
    assert len(sample_vectors(maps, 99)) == 24


def test_errors_name_the_fix():
    vectors, _ = blobs()
    clusters = find_clusters(vectors, KMeansConfig(classes=4, batch=64, steps=5))
    with pytest.raises(ValueError, match="cluster again"):
        clusters.assign(np.zeros((2, 2, 7), np.float32))
    with pytest.raises(ValueError, match="at least as many vectors"):
        find_clusters(vectors[:3], KMeansConfig(classes=4))
    with pytest.raises(ValueError, match="at least one frame"):
        sample_vectors([], 5)
