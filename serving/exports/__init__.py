"""Exports: one model version written for another server, BentoML or Triton.

A version comes in from the registry; a folder goes out, with the version's ONNX file and card as the
registry holds them. The folder needs nothing of alphaloop to run.
"""
