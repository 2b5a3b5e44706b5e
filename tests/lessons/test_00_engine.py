"""Lesson 00: its steps are well-formed; its exercises can be solved, and their tests catch planted bugs."""

from _exercises import ExerciseProof
from _steps import StepFiles


class TestSteps(StepFiles):
    lesson = "00_engine"


class TestExercises(ExerciseProof):
    lesson = "00_engine"
