"""Every exchange that ccxt knows, over REST and websocket; the only place in this room that imports it.

`source` is what the registry finds, `exchange` the connection with its retries and its errors,
`history` the pages of past bars, `feed` the websocket, `live` what is made of it.
"""
