"""Lesson 00: its exercises can be solved, cannot be passed unsolved, and their tests catch planted bugs."""

from _exercises import ExerciseProof


class TestExercises(ExerciseProof):
    lesson = "00_engine"
