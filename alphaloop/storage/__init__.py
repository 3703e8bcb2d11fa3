"""Stores of objects: files in a folder, or objects in a bucket with the S3 protocol, behind one interface.

An object has a name and bytes that are stored whole. Names are derived from what is stored (a content hash,
a bar, a sequence number), and objects are created only where the name is free: of two processes that store
under one name, the second learns that it is late. What the bytes mean is the business of the packages that
store them.
"""
