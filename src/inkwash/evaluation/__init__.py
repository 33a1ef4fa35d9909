"""Evaluation: a trained model against data it has not seen."""
