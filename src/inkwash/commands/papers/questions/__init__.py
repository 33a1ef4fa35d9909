"""Questions of the study notes, each with a measurement of a few seconds. The documentation has the answers.

Where the exact denoiser and density are needed, the data is a mixture of two normals on the line. No network is
trained, so that we measure diffusion itself, and not how well a network fits.
"""

from dataclasses import dataclass
from pathlib import Path

from inkwash.commands.output import Output
from inkwash.commands.papers.questions.answer import Question
from inkwash.commands.papers.questions.backward import (
    blind,
    edge,
    normal_steps,
    one_pass,
    probability,
    reverse_formula,
    three_forms,
    weights,
)
from inkwash.commands.papers.questions.forward import (
    fixed_alpha,
    growing_beta,
    random_steps,
    same_noise,
    square_roots,
    where_to_start,
)
from inkwash.commands.papers.report import Findings, report
from inkwash.core.options import Seed
from inkwash.core.progress import tracked
from inkwash.core.randomness import generator

QUESTIONS: dict[str, Question] = {
    "square-roots": square_roots,
    "growing-beta": growing_beta,
    "fixed-alpha": fixed_alpha,
    "random-steps": random_steps,
    "same-noise": same_noise,
    "where-to-start": where_to_start,
    "three-forms": three_forms,
    "reverse-formula": reverse_formula,
    "normal-steps": normal_steps,
    "one-pass": one_pass,
    "edge": edge,
    "weights": weights,
    "blind": blind,
    "probability": probability,
}
"""The questions, by name, in the order of the page."""


@dataclass(frozen=True)
class Options:
    """Answer the questions of the study notes by measurement: a picture and a few numbers for each."""

    out: str = "papers/questions"
    """Folder to write to."""
    seed: Seed = 0
    """Seed of everything random."""

    def __call__(self) -> None:
        output = Output(Path(self.out))
        with output.display.bar("measuring"):
            findings = measure(self)
        report("questions", findings, output)


def measure(options: Options) -> Findings:
    """Answer every question."""
    answers = {
        name: answer(generator(options.seed, i)) for i, (name, answer) in tracked(list(enumerate(QUESTIONS.items())))
    }
    words = (
        f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in answer.numbers.items())
        for name, answer in answers.items()
    )
    numbers = {name: answer.numbers for name, answer in answers.items()}
    return Findings(numbers, tuple(words), {name: answer.figure for name, answer in answers.items()})
