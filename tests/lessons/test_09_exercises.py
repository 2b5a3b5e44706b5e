"""Lesson 09: its exercises are proven, and listed as they are."""

from __future__ import annotations

from _exercises import ListedExercises


class TestExercises(ListedExercises):
    lesson, tasks = "09_spatial_transformer", 10
