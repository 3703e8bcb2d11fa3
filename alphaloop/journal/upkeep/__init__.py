"""Upkeep of the journal: its migration, its copies, and its normal form.

Here live what persons do with a journal beside its work: bring its tables to this release (`migration`), copy
it and put a copy back (`backup`), and compare two journals of one run (`normal_form`). Nothing here changes a
record.
"""
