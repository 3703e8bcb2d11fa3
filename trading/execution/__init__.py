"""Execution: sleeves' changes netted to orders, and fills allocated back.

Books follow corporate actions here. No order is sent here: that is the broker's.
"""
