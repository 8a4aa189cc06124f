"""Computes what large studies would take that nobody here has run: the tables of docs/clusters.md, from sizes and peak rates.

Estimates, not measurements: operations by :mod:`xling.sweeps.cost`, divided by a share of a GPU's peak rate.
"""

from dataclasses import dataclass

from transformers import XLMRobertaConfig

from xling.models.size import KNOWN, EncoderSize, count_parameters
from xling.models.spec import EncoderSpec
from xling.sweeps.cost import Workload, compute_base_bytes, compute_checkpoint_bytes, compute_run_flops

RATES = {
    "A100, float32": 0.6 * 19.5e12,
    "A100, bf16, a tenth of its peak": 0.1 * 312e12,
    "A100, bf16, three tenths": 0.3 * 312e12,
    "H100, bf16, a tenth": 0.1 * 989e12,
}
"""Operations a second: a share of the dense peak in the makers' data sheets. Short sentences at width 768 seldom get more than a
tenth of a bf16 peak; float32 without TF32, as the paper's experiment sets it, gets more of a much lower one."""
LARGE = XLMRobertaConfig(
    vocab_size=250_002, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
    max_position_embeddings=514, type_vocab_size=1, pad_token_id=1,
)  # fmt: skip


@dataclass(frozen=True)
class Paper:
    """A study that is planned on paper."""

    name: str
    size: EncoderSize
    n_sources: int
    n_targets: int
    n_train: int = 392_702
    n_probe: int = 5010
    epochs: int = 3

    @property
    def work(self) -> Workload:
        """Compute the work of one run: a validation of all targets after every epoch and one before training."""
        return Workload(self.n_train, self.n_probe, self.n_targets, self.epochs, self.epochs + 1)

    def row(self) -> str:
        """Write a line of the table."""
        flops = self.n_sources * compute_run_flops(self.size, (), self.work)
        training = self.n_sources * compute_run_flops(self.size, (), Workload(self.n_train, 0, 0, self.epochs, 0))
        hours = [f"{flops / rate / 3600:,.1f}" for rate in RATES.values()]
        base, checkpoint = compute_base_bytes(self.size, self.work), compute_checkpoint_bytes(self.size, ())
        disk = f"{base / 1e9:,.1f} | {checkpoint / 1e9:,.1f} | {self.n_sources * checkpoint / 1e9:,.0f}"
        memory = 16 * self.size.n_parameters / 1e9
        return (
            f"| {self.name} | {flops:.1e} | {1 - training / flops:.0%} | {' | '.join(hours)} | {memory:.1f} | {disk} |"
        )


def main() -> None:
    """Print the table."""
    mbert = KNOWN["google-bert/bert-base-multilingual-cased"]
    large = count_parameters(LARGE, EncoderSpec("xlm_r_large", "FacebookAI/xlm-roberta-large"))
    disk = "weights, gradients and AdamW, GB | base, GB | a checkpoint, GB | all checkpoints, GB"
    print(f"| study | operations | of them probing | {' | '.join(RATES)} | {disk} |\n|{'---|' * 11}")
    for study in (
        Paper("15 x 15, mBERT", mbert, 15, 15),
        Paper("15 x 15, XLM-R large", large, 15, 15),
        Paper("100 x 100, mBERT", mbert, 100, 100),
        Paper("100 x 100, XLM-R large", large, 100, 100),
    ):
        print(study.row())


if __name__ == "__main__":
    main()
