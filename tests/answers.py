"""Answers to the exercises, right ones and wrong ones, which the modules answers_* fill in, one a lesson.

The wrong answers are written as a learner would write them, not with the tables that the checks compare with.
"""

from collections import defaultdict

RIGHT = defaultdict(list)  # by the exercise
WRONG = defaultdict(list)  # by the exercise: pairs of a wrong answer and a piece of its diagnosis


def right(exercise):
    def register(function):
        RIGHT[exercise].append(function)
        return function

    return register


def wrong(exercise, says):
    def register(function):
        WRONG[exercise].append((function, says))
        return function

    return register
