"""The model families, one file each, all behind `models.family.Family`.

A family is a module in this package that defines `FAMILY`. Dropping a file in here is all it takes:
`models.zoo.registry` finds it by name.
"""
