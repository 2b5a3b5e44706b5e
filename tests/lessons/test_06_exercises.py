"""Lesson 06: its exercises are proven."""

from __future__ import annotations

from _exercises import ExerciseProof


class TestExercises(ExerciseProof):
    lesson = "06_rcnn"
