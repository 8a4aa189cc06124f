"""The torchmetrics classes: the functional form in any split, merged, pickled, and over processes."""

import pickle
import threading

import pytest
import torch
from similarity_reference import related
from torch import multiprocessing
from torchmetrics import MetricCollection

from xling.errors import XlingValueError
from xling.metrics import CKA, SimilarityMetric
from xling.metrics import moments as moments_metric
from xling.probing.compare import Comparison
from xling.similarity import MEASURES, GroupedMarginal, Marginal, Moments, get_measure, linear_cka

CLOSE = {"atol": 1e-6, "rtol": 0}


@pytest.fixture(params=["kept", "summed"], autouse=True)
def few_rows(request, monkeypatch):
    """Every test twice: where these few rows are kept as they are, and where they are summed, as many rows are."""
    if request.param == "summed":
        monkeypatch.setattr(moments_metric.MomentsMetric, "_are_few", lambda *_: False)
    return request.param


@pytest.fixture(scope="module")
def rows():
    x, y = related(mean=20.0)
    x[:, 60:] += 5
    return x, y


def updated(metric, x, y, batch=16):
    for start in range(0, x.shape[-2], batch):
        metric.update(x[..., start : start + batch, :], y[..., start : start + batch, :])
    return metric


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("with_base", [True, False])
def test_cka_metric_equals_the_function(debiased, with_base, rows):
    metric = updated(CKA(debiased=debiased, base=Marginal.of(rows[0]) if with_base else None), *rows)
    torch.testing.assert_close(metric.compute(), linear_cka(*rows, debiased=debiased), **CLOSE)
    assert metric.explain().reason == ["", ""]


@pytest.mark.parametrize("name", MEASURES)
def test_any_measure_equals_its_function(name, rows):
    metric = updated(SimilarityMetric(name), *rows)
    torch.testing.assert_close(metric.compute(), get_measure(name).of_rows(*rows).value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["cka_debiased", "rsa"])
def test_merged_metrics_equal_one(name, rows):
    x, y = rows
    first, second = SimilarityMetric(name), SimilarityMetric(name)
    updated(first, x[:, :50], y[:, :50])
    updated(second, x[:, 50:], y[:, 50:])
    first.merge_state(second)
    first.merge_state(SimilarityMetric(name))
    torch.testing.assert_close(first.compute(), get_measure(name).of_rows(x, y).value, **CLOSE)


def test_a_metric_without_rows_takes_over_the_merged_ones(rows):
    metric = CKA()
    metric.merge_state(updated(CKA(), *rows))
    torch.testing.assert_close(metric.compute(), linear_cka(*rows, debiased=True), **CLOSE)


def test_metrics_of_another_kind_are_not_merged(rows):
    x, _ = rows
    for other in (CKA(base=Marginal.of(x)), CKA(groups=True), SimilarityMetric("rsa")):
        with pytest.raises(ValueError, match="expected the states of a metric like this one"):
            CKA().merge_state(other)
    with pytest.raises(ValueError, match="expected the states of a metric like this one"):
        CKA(groups=True).merge_state({"x_shift": torch.zeros(1, 1)})


def test_merging_leaves_the_merged_metric_alone(rows):
    x, y = rows
    first, second = CKA(), updated(CKA(), x, y)
    before = second.compute()
    first.merge_state(second.metric_state)
    first.update(y, x)
    second._computed = None
    assert torch.equal(second.compute(), before)


@pytest.mark.parametrize("name", ["cka_biased", "mutual_knn"])
def test_forward_gives_the_batch_and_accumulates_the_rest(name, rows):
    x, y = rows
    metric = SimilarityMetric(name)
    for batch in (slice(0, 30), slice(30, 120)):
        value = metric(x[:, batch], y[:, batch])
        torch.testing.assert_close(value, get_measure(name).of_rows(x[:, batch], y[:, batch]).value, **CLOSE)
    torch.testing.assert_close(metric.compute(), get_measure(name).of_rows(x, y).value, **CLOSE)


@pytest.mark.parametrize("name", ["cka_debiased", "rbf_cka"])
def test_a_metric_survives_reset_pickling_and_cloning(name, rows):
    metric = updated(SimilarityMetric(name), rows[1], rows[0])
    metric.reset()
    metric = pickle.loads(pickle.dumps(updated(metric, *rows)))
    expected = get_measure(name).of_rows(*rows).value
    torch.testing.assert_close(metric.compute(), expected, **CLOSE)
    torch.testing.assert_close(metric.clone().to("cpu").compute(), expected, **CLOSE)


def test_a_persistent_metric_resumes_from_its_state_dict(rows):
    x, y = rows
    first, second = CKA(), CKA()
    first.persistent(True)
    second.persistent(True)
    second.load_state_dict(updated(first, x[:, :50], y[:, :50]).state_dict())
    updated(second, x[:, 50:], y[:, 50:])
    torch.testing.assert_close(second.compute(), linear_cka(x, y, debiased=True), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_are_summed_in_full_precision_inside_inference_mode(dtype, rows):
    x, y = (side.to(dtype) for side in rows)
    metric = CKA()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        metric.update(x[:, :60], y[:, :60])
    metric.update(x[:, 60:], y[:, 60:])
    torch.testing.assert_close(metric.compute(), linear_cka(x.float(), y.float(), debiased=True), **CLOSE)


def test_a_collection_computes_all_measures_from_one_set_of_sums(rows):
    names = ["cka_debiased", "cka_biased", "svcca", "anc", "procrustes"]
    collection = MetricCollection({name: SimilarityMetric(name) for name in names})
    updated(collection, *rows)
    assert len(collection.compute_groups) == 1
    for name, value in collection.compute().items():
        torch.testing.assert_close(value, get_measure(name).of_rows(*rows).value, atol=1e-5, rtol=0)


def test_undefined_layers_are_nan_and_named(rows):
    x = rows[0].clone()
    x[0] = 2.5
    for name in ("cka_debiased", "rsa"):
        metric = updated(SimilarityMetric(name), x, rows[1])
        assert metric.compute().isnan().tolist() == [True, False]
        assert metric.reason == ["x is constant over the examples", ""]


@pytest.mark.parametrize("name", ["cka_debiased", "rsa"])
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")  # torchmetrics' own, wanted here
def test_a_metric_without_rows_is_nan_and_says_so(name):
    metric = SimilarityMetric(name)
    assert bool(metric.compute().isnan())
    assert metric.reason == ["no examples"]


def test_empty_batches_change_nothing(rows):
    x, y = rows
    metric = CKA()
    metric.update(x[:, :0], y[:, :0])
    updated(metric, x, y)
    metric.update(x[:, :0], y[:, :0])
    torch.testing.assert_close(metric.compute(), linear_cka(x, y, debiased=True), **CLOSE)


@pytest.mark.parametrize("name", ["cka_debiased", "rsa"])
def test_batches_of_another_width_are_refused(name, rows):
    x, y = rows
    metric = updated(SimilarityMetric(name), x, y)
    with pytest.raises(ValueError, match="what x held before has"):
        metric.update(x[..., :4], y)
    with pytest.raises(ValueError, match="same layers and examples"):
        metric.update(x[:, :4], y[:, :5])


def test_unknown_measures_are_refused():
    with pytest.raises(ValueError, match="unknown similarity measure 'cka'"):
        SimilarityMetric("cka")


class Processes:
    """Threads that play the ranks of a process group: `gather` hands every one the tensors of all."""

    def __init__(self, size):
        self.barrier, self.box, self.local = threading.Barrier(size, timeout=20), [None] * size, threading.local()

    def gather(self, tensor, group=None):
        self.box[self.local.rank] = tensor
        self.barrier.wait()
        gathered = [other.clone() for other in self.box]
        self.barrier.wait()
        return gathered

    def run(self, rank, metric, results):
        self.local.rank = rank
        try:
            metric.sync(dist_sync_fn=self.gather, distributed_available=lambda: True)
            results[rank] = metric._evaluate()
            metric.unsync()
        except XlingValueError as error:
            results[rank] = error


def over_threads(metrics):
    processes, results = Processes(len(metrics)), [None] * len(metrics)
    threads = [threading.Thread(target=processes.run, args=(rank, m, results)) for rank, m in enumerate(metrics)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("with_base", [True, False])
def test_summed_states_of_ranks_with_different_shifts_equal_one_process(with_base, rows):
    x, y = rows
    base = Marginal.of(x) if with_base else None
    parts = [slice(0, 50), slice(50, 59), slice(0, 0), slice(59, 120)]  # uneven, and one rank without rows
    metrics = [CKA(base=base) for _ in parts]
    for metric, part in zip(metrics, parts, strict=True):
        updated(metric, x[:, part], y[:, part])
    for result in over_threads(metrics):
        torch.testing.assert_close(result.value, linear_cka(x, y, debiased=True), **CLOSE)
    updated(metrics[0], x[:, 50:], y[:, 50:])  # unsynced: each rank has its own rows again
    torch.testing.assert_close(metrics[0].compute(), linear_cka(x, y, debiased=True), **CLOSE)


def test_ranks_without_any_rows_are_nan():
    assert [result.reason for result in over_threads([CKA(), CKA()])] == [["no examples"]] * 2


def test_ranks_with_different_layers_are_refused(rows):
    x, y = rows
    metrics = [updated(CKA(), x, y), updated(CKA(), x[:1], y[:1])]
    for result in over_threads(metrics):
        with pytest.raises(ValueError, match="give all the same layers"):
            raise result


def on_rank(rank, path, outcome):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    x, y = related(n=400, d_x=140, mean=1000.0**0.5)
    part = slice(0, 150) if rank == 0 else slice(150, 400)
    values = {}
    for name, metric in {
        "debiased": CKA(debiased=True),
        "biased": CKA(debiased=False),
        "based": CKA(base=Marginal.of(x)),
        "rows": SimilarityMetric("mutual_knn"),
    }.items():
        values[name] = updated(metric, x[:, part], y[:, part], 64).compute()
    groups = torch.arange(400) // 5  # whole on either process
    values["grouped"] = in_groups(CKA(groups=True), x[:, part], y[:, part], groups[part], 64).compute()
    values["dealt"] = dealt(rank, x, y, groups)
    torch.save(values, f"{outcome}.{rank}")
    torch.distributed.destroy_process_group()


def dealt(rank, x, y, groups):
    """What a monitor sums up where a sampler deals rows one by one, so that every group is on both processes."""
    comparison = Comparison(list(x), {"cka_grouped": get_measure("cka_grouped")}, groups=groups)
    own = torch.arange(rank, 400, 2)
    for rows in own.split(64):
        comparison.update(rows, [layer[rows] for layer in y], groups[rows])
    return [(layer["cka_grouped"], layer["n_examples"], layer["n_groups"]) for layer in comparison.compute()]


@pytest.mark.slow
def test_two_gloo_processes_equal_one(tmp_path):
    multiprocessing.spawn(on_rank, (tmp_path / "rendezvous", tmp_path / "values"), nprocs=2)
    x, y = related(n=400, d_x=140, mean=1000.0**0.5)
    for rank in range(2):
        values = torch.load(f"{tmp_path / 'values'}.{rank}")
        torch.testing.assert_close(values["debiased"], linear_cka(x, y, debiased=True), **CLOSE)
        torch.testing.assert_close(values["based"], linear_cka(x, y, debiased=True), **CLOSE)
        torch.testing.assert_close(values["biased"], linear_cka(x, y, debiased=False), **CLOSE)
        torch.testing.assert_close(values["rows"], get_measure("mutual_knn").of_rows(x, y).value, **CLOSE)
        grouped = linear_cka(x, y, debiased=True, groups=torch.arange(400) // 5)
        torch.testing.assert_close(values["grouped"], grouped, **CLOSE)
        assert [counts for _, *counts in values["dealt"]] == [[400, 80]] * len(x)
        torch.testing.assert_close(
            torch.tensor([v for v, *_ in values["dealt"]], dtype=grouped.dtype), grouped, **CLOSE
        )


def test_the_metric_holds_the_moments_it_accumulated(rows):
    metric = updated(CKA(), *rows)
    assert int(metric.moments.n) == 120
    assert torch.equal(metric.moments.yx, Moments.from_tensors(metric.moments.tensors()).yx)


def test_rows_are_kept_until_they_are_many_and_summed_from_then_on(rows, few_rows, monkeypatch):
    monkeypatch.setattr(moments_metric, "FEW", 50 * rows[0].shape[-1])
    x, y = rows
    metric = updated(CKA(), x[:, :48], y[:, :48])
    assert (metric.few_rows is None) == (few_rows == "summed")
    torch.testing.assert_close(metric.compute(), linear_cka(x[:, :48], y[:, :48], debiased=True), **CLOSE)
    updated(metric, x[:, 48:], y[:, 48:])
    assert metric.few_rows is None
    assert int(metric.moments.n) == 120
    torch.testing.assert_close(metric.compute(), linear_cka(x, y, debiased=True), **CLOSE)


@pytest.mark.parametrize("n_of_first", [20, 100])
def test_few_rows_and_sums_are_merged_in_either_order(n_of_first, rows, monkeypatch):
    monkeypatch.setattr(moments_metric, "FEW", 50 * rows[0].shape[-1])
    x, y = rows
    first, second = (updated(CKA(), x[:, part], y[:, part]) for part in (slice(n_of_first), slice(n_of_first, None)))
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), linear_cka(x, y, debiased=True), **CLOSE)


def test_rows_that_change_after_the_update_do_not_change_the_value(rows):
    buffers = [side.clone() for side in rows]
    metric = CKA()
    metric.update(*buffers)
    for buffer in buffers:
        buffer.zero_()
    torch.testing.assert_close(metric.compute(), linear_cka(*rows, debiased=True), **CLOSE)


@pytest.mark.parametrize("batch", [1, 7, 16, 120])
@pytest.mark.parametrize("with_base", [True, False])
@pytest.mark.parametrize("size", [1, 3, 25])
def test_groups_may_go_on_from_batch_to_batch(batch, with_base, size, rows):
    groups = torch.arange(120) // size
    base = GroupedMarginal.of(rows[0], groups) if with_base else None
    metric = in_groups(CKA(groups=True, base=base), *rows, groups, batch)
    expected = linear_cka(*rows, debiased=True, groups=groups)
    torch.testing.assert_close(metric.compute(), expected, **CLOSE)
    torch.testing.assert_close(pickle.loads(pickle.dumps(metric)).compute(), expected, **CLOSE)


def in_groups(metric, x, y, groups, batch=16):
    for start in range(0, x.shape[-2], batch):
        part = slice(start, start + batch)
        metric.update(x[..., part, :], y[..., part, :], groups[part])
    return metric


def test_evaluating_leaves_the_open_group_open(rows):
    groups = torch.arange(120) // 3
    metric = in_groups(CKA(groups=True), rows[0][:, :61], rows[1][:, :61], groups[:61])
    metric.compute()
    in_groups(metric, rows[0][:, 61:], rows[1][:, 61:], groups[61:])
    torch.testing.assert_close(metric.compute(), linear_cka(*rows, debiased=True, groups=groups), **CLOSE)
    metric.reset()
    assert metric.open is None


@pytest.mark.parametrize("as_states", [True, False])
def test_merged_groups_equal_one_metric_and_none_counts_twice(as_states, rows):
    groups = torch.arange(120) // 3
    parts = [slice(0, 50), slice(51, 120)]
    kept = torch.cat([torch.arange(120)[part] for part in parts])
    first, second = (in_groups(CKA(groups=True), *(side[:, p] for side in rows), groups[p]) for p in parts)
    first.merge_state(second.metric_state if as_states else second)
    x, y = (side[:, kept] for side in rows)
    torch.testing.assert_close(first.compute(), linear_cka(x, y, debiased=True, groups=groups[kept]), **CLOSE)
    with pytest.raises(ValueError, match="the rows of group 17 are not together"):
        first.merge_state(second)


@pytest.mark.parametrize("with_base", [True, False])
def test_ranks_that_hold_whole_groups_equal_one_process(with_base, rows):
    groups = torch.arange(120) // 3
    base = GroupedMarginal.of(rows[0], groups) if with_base else None
    parts = [slice(0, 51), slice(51, 60), slice(0, 0), slice(60, 120)]
    metrics = [in_groups(CKA(groups=True, base=base), *(s[:, p] for s in rows), groups[p]) for p in parts]
    expected = linear_cka(*rows, debiased=True, groups=groups)
    for result in over_threads(metrics):
        torch.testing.assert_close(result.value, expected, **CLOSE)
    in_groups(metrics[0], *(side[:, 51:] for side in rows), groups[51:])  # unsynced: each rank has its own rows again
    torch.testing.assert_close(metrics[0].compute(), expected, **CLOSE)


def test_a_group_that_two_ranks_share_is_refused(rows):
    groups = torch.arange(120) // 3
    metrics = [in_groups(CKA(groups=True), *(s[:, p] for s in rows), groups[p]) for p in (slice(0, 50), slice(50, 120))]
    for result in over_threads(metrics):
        with pytest.raises(ValueError, match="the rows of group 16 are not together"):
            raise result


def test_a_biased_metric_over_groups_is_refused():
    with pytest.raises(ValueError, match="the biased estimator knows no groups"):
        CKA(debiased=False, groups=True)
