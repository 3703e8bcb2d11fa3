"""What indicators are computed with: sums over windows, averages carried on, windows in windows, periods.

No indicator lives here. Arrays of floats go in and out.
"""
