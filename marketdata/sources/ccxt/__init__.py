"""Every exchange in ccxt, over REST and websocket; the only importer of ccxt in `marketdata`.

`source` is found by the registry, `exchange` is the connection with its retries and errors, `history` the
pages of past bars, `feed` the websocket, `live` the conversion of its messages.
"""
