"""URIEL+: -1 becomes NaN, ISO codes become Glottocodes, and nothing is written beside the package."""

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from xling.distances import MacrolanguageWarning, compute_distances, urielplus
from xling.distances.formulas import shared_angular_distance
from xling.errors import CorruptArtefactError, UnreachableError, XlingValueError

is_installed = importlib.util.find_spec("urielplus") is not None

# A stand-in with URIEL+'s interface: it too writes beside its own code and knows languages by Glottocode.
PACKAGE = """
import os
import numpy as np

class URIELPlus:
    def __init__(self):
        open(os.path.join(os.path.dirname(__file__), "database", "features.npz"), "w").close()

    def integrate_databases(self):
        self.langs = [np.array(["stan1295", "stan1293", "stan1318", "urdu1245"])] * 4
        typology = np.full((4, 5, 2), -1.0)
        typology[0, :, 0] = [1, 0, 1, 1, 0]
        typology[1, :, 1] = [1, 1, -1, 1, 1]
        typology[2, :, 0] = [0, 0, 1, -1, -1]
        typology[0, 1, 1] = 1
        self.feats = [["F_a", "F_b"], ["S_a", "S_b", "S_c", "P_a", "P_b"], ["G_a", "G_b"], ["SC_a"]]
        place = np.array([[0.1, 0.2], [0.2, 0.1], [0.3, 0.3], [-1, -1]])[:, :, None]
        self.data = [np.array([[1, 1], [1, 0], [0, 1], [-1, -1]])[:, :, None], typology, place, np.ones((4, 1, 1))]

    def map_new_distance_to_loaded_features(self, kind):
        self.data[1][:3, 4] = -1
"""


@pytest.fixture
def fake_urielplus(tmp_path, monkeypatch):
    package = tmp_path / "site" / "urielplus"
    (package / "database" / "urielplus_csvs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "urielplus.py").write_text(PACKAGE)
    codes = "iso_code,glottocode\ndeu,stan1295\neng,stan1293\narb,stan1318\nurd,urdu1245\nara,\n"
    (package / "database" / "urielplus_csvs" / "uriel_glottocode_map.csv").write_text(codes)
    spec = importlib.util.spec_from_file_location("urielplus", package / "__init__.py")
    monkeypatch.setattr(urielplus.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(urielplus.importlib.metadata, "version", lambda _: "9.9")
    monkeypatch.setenv("XLING_CACHE", str(tmp_path / "cache"))
    return package


def fingerprint(folder: Path) -> list[tuple[str, str]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def test_shared_features_alone_decide_and_none_is_missing():
    rng = np.random.default_rng(0)
    values = rng.integers(-1, 2, size=(5, 12))
    values[4] = -1
    distances, coverage = shared_angular_distance(values)
    for i in range(4):
        for j in range(4):
            both = (values[i] >= 0) & (values[j] >= 0)
            u, v = values[i][both], values[j][both]
            cosine = u @ v / np.sqrt((u @ u) * (v @ v))
            assert distances[i, j] == pytest.approx(2 / np.pi * np.arccos(min(cosine, 1)), abs=1e-7)
            assert coverage[i, j] == both.sum()
    assert np.isnan(distances[4]).all()
    assert not coverage[4].any()


def test_the_databases_are_integrated_once_in_the_cache_and_not_in_the_package(fake_urielplus, tmp_path):
    before = fingerprint(fake_urielplus)
    first = compute_distances(["syntactic", "genetic", "script"], ["de", "eng", "ur"], "urielplus")
    assert fingerprint(fake_urielplus) == before
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["9.9.npz"]
    cosine = 2 / np.sqrt(2 * 2)  # German [1 1 1] and English [1 1 -] share two syntactic features
    assert first.values["syntactic"].loc["de", "eng"] == pytest.approx(2 / np.pi * np.arccos(cosine))
    assert first.coverage["syntactic"].loc["de", "eng"] == 2
    assert first.values["genetic"].loc["de", "eng"] == 0.5
    assert np.isnan(first.values["genetic"].loc["de", "ur"])
    assert first.values["genetic"].loc["ur", "ur"] == 0
    (fake_urielplus / "urielplus.py").write_text("raise RuntimeError")
    again = compute_distances("genetic", ["eng", "de"], "urielplus")
    assert again.values["genetic"].loc["eng", "de"] == 0.5


def test_a_macrolanguage_is_replaced_with_a_warning_and_an_absent_language_refused(fake_urielplus):
    with pytest.warns(MacrolanguageWarning, match="URIEL\\+ has no macrolanguage ar; used arb"):
        distances = compute_distances("genetic", ["ar", "de"], "urielplus")
    assert distances.values["genetic"].loc["ar", "de"] == 0.5
    with pytest.raises(XlingValueError, match=r"URIEL\+ has no language 'th'"):
        compute_distances("genetic", ["th", "de"], "urielplus")


def test_a_failed_integration_leaves_nothing_behind(fake_urielplus, tmp_path):
    (fake_urielplus / "urielplus.py").write_text("raise RuntimeError('the tables disagree')")
    with pytest.raises(UnreachableError, match=r"could not be integrated \(RuntimeError: the tables disagree\)"):
        compute_distances("genetic", ["en", "de"], "urielplus")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_truncated_cache_file_is_refused(fake_urielplus, tmp_path):
    path = tmp_path / "cache" / "urielplus" / "9.9.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(CorruptArtefactError, match="delete it and it will be built anew"):
        compute_distances("genetic", ["en", "de"], "urielplus")


@pytest.mark.skipif(is_installed, reason="the package urielplus is installed")
def test_a_missing_package_is_named():
    with pytest.raises(UnreachableError, match=r'run: pip install "xling\[urielplus\]"'):
        compute_distances("genetic", ["en", "de"], "urielplus")


@pytest.mark.slow
@pytest.mark.skipif(not is_installed, reason="needs the package urielplus; integrates its databases (3 minutes, 4 GB)")
def test_the_real_package_agrees_with_its_own_published_queries(tmp_path, monkeypatch):
    monkeypatch.setenv("XLING_CACHE", str(tmp_path))
    package = Path(importlib.util.find_spec("urielplus").origin).parent
    before = fingerprint(package)
    values = compute_distances([*urielplus.PARTS_OF_KINDS], ["bg", "de", "en", "hi", "ur"], "urielplus").values
    assert fingerprint(package) == before
    assert importlib.metadata.version("urielplus")
    # What URIELPlus().integrate_databases() and new_distance(...) of urielplus 1.3.2 return for the same Glottocodes.
    assert values["syntactic"].loc["bg", ["de", "en"]].tolist() == pytest.approx([0.4097, 0.4097], abs=1e-4)
    assert values["phonological"].loc["de", ["bg", "en"]].tolist() == pytest.approx([0.3125, 0.3613], abs=1e-4)
    assert values["inventory"].loc["en", "bg"] == pytest.approx(0.521, abs=1e-4)
    assert values["featural"].loc["de", "en"] == pytest.approx(0.401, abs=1e-4)
    assert values["script"].loc["de", "en"] == pytest.approx(0.195, abs=1e-4)
    assert np.isnan(values["phonological"].loc["ur", "de"])
    assert np.isnan(values["morphological"].loc["de", "en"])
