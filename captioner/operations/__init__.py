"""A TorchServe server and its versions: start it, deploy to it, watch it.

- ``archive``, ``package``, ``golden``: what is deployed.
- ``store``, ``record``: where archives lie, and which of them a server starts with.
- ``torchserve``, ``frontend``, ``ports``, ``server_state``: the server's process.
- ``serve``, ``container``: the programs that run a server.
- ``management``, ``http``, ``keys``, ``target``: asking a server.
- ``deploy``, ``drain``, ``shadow``, ``reconcile``, ``versions``, ``interrupts``: swapping versions.
- ``health``: whether a served captioner is ready.
"""
