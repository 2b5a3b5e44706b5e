"""Lesson 02: its exercises are proven, the README's table is the network's, its claims are those that were measured."""

from _exercises import LESSONS, ExerciseProof

LESSON = LESSONS / "02_zfnet"


class TestExercises(ExerciseProof):
    lesson = "02_zfnet"
