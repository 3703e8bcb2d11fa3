"""The model families, one file each, all behind `models.family.Family`.

A family is a module in a folder of this package that defines `FAMILY`. Adding a file is enough:
`models.zoo.registry` finds it by name.
"""
