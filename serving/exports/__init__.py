"""Exports: one model version as something that another server runs.

Here lives what writes a Bento (BentoML) and a model repository (Triton). What is written holds the ONNX
file and the card as they are on the registry, and needs nothing of alphaloop to run.

A version comes in from the registry; a folder goes out.
"""
