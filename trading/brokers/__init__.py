"""The brokers, one file each, all behind `trading.broker.Broker`.

A broker is a module in this package that defines `BROKER`. Adding a file is enough:
`trading.broker.find_broker` finds it by name.
"""
