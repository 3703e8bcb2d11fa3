"""The model families, one file each, all behind `models.family.Family`.

A family is a module in a folder of this package that defines `FAMILY`. Dropping a file in there is all it
takes: `models.zoo.registry` finds it by name.
"""
