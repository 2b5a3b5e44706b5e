"""Lesson 01: its exercises are proven, its network is the library's, its claims agree with what was measured."""

from _exercises import ExerciseProof


class TestExercises(ExerciseProof):
    lesson = "01_alexnet"
