"""The brokers, one file each, all behind `trading.broker.Broker`.

A broker is a module in this package that defines `BROKER`. Dropping a file in here is all it takes:
`trading.broker.find` finds it by name.
"""
