"""Repair tasks with known answers: how much of them an agent solves."""
