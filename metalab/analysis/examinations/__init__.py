"""Examine a learner that may be broken. A falling loss does not show that it is healthy: most broken ones have one.

An examination is handed a function that makes the learner anew, because examining it may change it:

    def mine():
        network = Network()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        def step(tasks): ...
        def predict(support_x, support_y, query_x): ...
        return Patient(parameters=network, step=step, batch=draw_tasks, predict=predict, task=draw_task)

    print(alone(mine))  # one examination
    print(examine(mine))  # all that the patient's functions allow

Each examination says in its docstring what it shows and what it cannot show. None of them proves that a learner is
healthy: "well" means that this one found nothing.

    patient.py      the functions and the facts by which a learner is handed over
    examination.py  what an examination is, and what it finds
    training.py     the training step
    gradient.py     the gradient
    memory.py       what autograd keeps
    prediction.py   the answers
    data.py         the tasks, the splits and the pairs
    _calling.py     calls the patient's functions, and reads what they return
    _comparing.py   compares numbers
"""

from ._calling import in_words, made
from .data import classes_across_splits, support_and_queries
from .examination import Examination, Finding, Report, undisturbed
from .gradient import finite_differences, gradients, order_of_the_gradient
from .memory import memory_over_inner_steps, memory_over_training
from .patient import Make
from .patient import Patient as Patient
from .prediction import alone, another_support_set, constant_output, same_start, shuffled_labels, side_of_the_pairs
from .training import both_parts, one_batch, several_steps

EXAMINATIONS: dict[str, Examination] = {
    examination.name: examination
    for examination in (
        several_steps,
        gradients,
        one_batch,
        both_parts,
        finite_differences,
        order_of_the_gradient,
        memory_over_inner_steps,
        memory_over_training,
        another_support_set,
        shuffled_labels,
        constant_output,
        alone,
        same_start,
        support_and_queries,
        classes_across_splits,
        side_of_the_pairs,
    )
}


def examine(make: Make) -> Report:
    """Do every examination that the patient's functions allow.

    One that stops with an error has found something; others that stop with the same error cannot tell.

    Raises:
        TypeError: `make` is no function, or does not return a `Patient`.
    """
    with undisturbed():
        patient = made(make)
    report = Report()
    for examination in EXAMINATIONS.values():
        if examination.fits(patient):
            try:
                report.append(examination(make))
            except Exception as error:  # whatever is wrong with it, the finding says so
                words = in_words(error)
                state = "open" if any(finding.says.endswith(words) for finding in report) else "ill"
                report.append(Finding(examination.name, state, f"It stops with {words}"))
    return report
