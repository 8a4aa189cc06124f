"""The formulas of distances: angles, places and the geographic lattice."""

import io
import itertools

import numpy as np
import pytest

from xling.distances import (
    formulas,
    uriel,
)


def test_places_match_known_coordinates():
    known = {
        "eng": (53, -1),
        "deu": (48.65, 12.47),
        "cmn": (40.02, 116.23),
        "swh": (-8.26, 37.62),
        "arb": (27.96, 43.85),
    }
    table = uriel.geography()
    x, y, z = formulas.locate(table.angles[[table.rows[code] for code in known]]).T
    found = np.degrees(np.stack([np.arcsin(z), np.arctan2(y, x)], axis=1))
    np.testing.assert_allclose(found, list(known.values()), atol=0.006)


def test_locate_inverts_great_circle_angles():
    places = np.random.default_rng(0).normal(size=(20, 3))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    angles = np.arccos(np.clip(places @ formulas.lattice_points().T, -1, 1)) / np.pi
    np.testing.assert_allclose(formulas.locate(angles), places, atol=1e-12)
    np.testing.assert_allclose(formulas.locate(angles.round(4)), places, atol=5e-5)


def test_a_place_is_at_distance_zero_from_itself_and_one_from_its_antipode_whatever_rounding_does():
    places = np.random.default_rng(0).normal(size=(50, 3))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    products = places @ places.T
    assert np.diag(products).max() > 1
    distances = formulas.great_circle_distance(np.concatenate([places, -places]))
    np.testing.assert_allclose(np.diag(distances), 0, atol=1e-7)
    np.testing.assert_allclose(np.diag(distances[:50, 50:]), 1, atol=1e-7)


def test_lattice_points_are_those_that_uriel_names():
    with np.load(io.BytesIO(uriel.read_lang2vec_file("geocoord_features.npz"))) as arrays:
        named = np.array([name.split("_")[1:] for name in map(str, arrays["feats"])], dtype=float)
    x, y, z = formulas.lattice_points().T
    assert np.abs(np.degrees(np.arcsin(z)) - named[:, 0]).max() < 1
    turn = np.abs(np.degrees(np.arctan2(y, x)) - named[:, 1])
    assert np.minimum(turn, 360 - turn)[:-1].max() < 1  # the last point is the pole, where longitude means nothing


def test_angular_distance_agrees_with_pairwise_arithmetic():
    vectors = np.random.default_rng(1).integers(0, 2, size=(6, 40))
    for i, j in itertools.product(range(6), repeat=2):
        cosine = sum(vectors[i] * vectors[j]) / (sum(vectors[i] ** 2) * sum(vectors[j] ** 2)) ** 0.5
        assert formulas.angular_distance(vectors)[i, j] == pytest.approx(
            np.arccos(min(cosine, 1)) * 2 / np.pi, abs=1e-12
        )


def test_angular_distance_ignores_scale_and_column_order_but_not_content():
    vectors = np.random.default_rng(2).random((4, 9))
    distances = formulas.angular_distance(vectors)
    np.testing.assert_allclose(formulas.angular_distance(vectors[:, ::-1] * [[1], [2], [3], [4]]), distances, atol=1e-7)
    assert np.abs(formulas.angular_distance(vectors**2) - distances).max() > 0.01


@pytest.mark.parametrize(
    "compute", [formulas.angular_distance, lambda vectors: formulas.shared_angular_distance(vectors)[0]]
)
def test_a_cosine_that_rounding_lifts_above_one_is_an_angle_of_zero(compute):
    one_way = np.random.default_rng(0).random((50, 5))
    vectors = np.concatenate([one_way, 3 * one_way])
    norms = np.sqrt((vectors**2).sum(axis=1))
    assert (vectors @ vectors.T / np.outer(norms, norms)).max() > 1
    distances = compute(vectors)
    assert np.isfinite(distances).all()
    np.testing.assert_allclose(np.diag(distances[:50, 50:]), 0, atol=1e-7)
