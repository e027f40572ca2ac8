"""Measures of an exported model's samples, each next to real data's score."""
