"""Execution: net the sleeves' changes to orders, and allocate fills back to sleeves.

Sleeve books, and the corporate actions that they follow, live here. Orders are sent by brokers only.
"""
