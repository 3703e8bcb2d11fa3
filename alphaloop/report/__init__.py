"""The shell and the charts of reports: self-contained HTML, inline SVG, no script from anywhere.

Data comes in as plain sequences; a string of HTML goes out. Nothing here knows a model or an order.
"""
